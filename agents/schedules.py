"""Fixed schedules: one prune ratio a stage, written as a short text.

`"8:0.4,12:0.5,16:1.0"` prunes 40 % of the stage that is 8 tokens wide, half of the one that is 12
wide, and skips the one that is 16 wide; stages that are not named are computed in full. A stage is
named by its width (`8`), its grid (`8x8`), its own name, or its index (`si=5`), and
`tail=[0.4,0.5,1]` sets the last stages at once, `all:0.75` every stage. A ratio of exactly 1 is
skip.

Instead of entries, the text may be the name of a schedule of the field (`fastvar_default`); those
were made for the last of 13 scales and are laid onto the last stages of any other schedule.
"""

import re
from collections.abc import Iterator, Sequence

from base.errors import ConfigError

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_TAIL = re.compile(r"tail\s*=\s*\[(?P<ratios>[^\[\]]*)\]", re.ASCII)
_GRID = re.compile(r"(?P<height>\d+)x(?P<width>\d+)", re.ASCII)


NAMED: dict[str, tuple[float, ...]] = {  # ratios of the last stages; up to 13 scales of 1 megapixel
    "fastvar_default": (0.4, 0.5, 1.0, 1.0),  # FastVAR's release on Infinity, FastRLVAR
    "fastvar_tokens_only": (0.4, 0.5, 0.0, 0.0),  # FastRLVAR where no list is given
    "seed_tail6": (0.3, 0.4, 1.0, 1.0, 0.8, 1.0),  # the predecessor's first placeholder
    "skip64": (1.0,),
    "skip48_64": (1.0, 1.0),  # the predecessor's second tree
    "skip_last3": (1.0, 1.0, 1.0),  # what its trained agent did for 52 % of the images
    "skip_last4": (1.0, 1.0, 1.0, 1.0),  # and for 15 %
    "alt_a": (0.4, 0.5, 1.0, 0.8, 1.0),  # the two patterns that its newest tree alternates
    "alt_b": (0.8, 0.7, 0.6, 1.0, 1.0),
    "v3_tokens": (0.4, 0.5, 0.6, 0.7),  # its newest inference script
    "v3_light": (0.1, 0.2),
    "skip_from20": (1.0,) * 6,
    "skip_from8": (1.0,) * 9,
    "skip_from2": (1.0,) * 12,
    "rl_mean": (0.206, 0.831, 0.99985, 1.0),  # mean ratios of its agent over 1000 images
    "skipvar_k1": (1.0,),  # SkipVAR's fixed classes
    "skipvar_k2": (1.0, 1.0),
    "skipvar_k3": (1.0, 1.0, 1.0),
}


def named_schedule(name: str, num_stages: int) -> tuple[float, ...]:
    """The ratios of a schedule of the field, laid onto the last of `num_stages` stages.

    The first stage is always computed: every later one starts from it.
    """
    tail = NAMED[name][-max(0, num_stages - 1) :] if num_stages > 1 else ()
    return (0.0,) * (num_stages - len(tail)) + tail


def parse_schedule(text: str, stage_names: Sequence[str]) -> tuple[float, ...]:
    """Return the ratio of every stage, 0 where the text does not name it.

    Args:
        text: entries `stage:ratio`, `all:ratio` or `tail=[ratio,...]`, separated by commas.
        stage_names: the names of the generator's stages in order, such as `8x8`.

    Returns:
        One ratio in [0, 1] a stage.

    Raises:
        ConfigError: an entry that cannot be read, an unknown or repeated stage, a ratio outside
            [0, 1]; the message gives the character where it starts and the known stages.
    """
    if text.strip() in NAMED:
        return named_schedule(text.strip(), len(stage_names))
    ratios: dict[int, float] = {}
    for position, entry in _entries(text):
        tail = _TAIL.fullmatch(entry)
        try:
            if tail:
                updates = _parse_tail(tail["ratios"], len(stage_names))
            else:
                updates = _parse_pair(entry, stage_names)
            for index, ratio in updates.items():
                if index in ratios:
                    raise ConfigError(f"stage {stage_names[index]} is set twice")
                ratios[index] = ratio
        except ConfigError as error:
            raise ConfigError(
                f"schedule {text!r}, character {position + 1} ({entry!r}): {error}; expected "
                f"stage:ratio with a stage of {', '.join(stage_names)} and a ratio from 0 to 1 "
                f"(exactly 1 skips the stage), or one of {', '.join(NAMED)}"
            ) from None
    return tuple(ratios.get(index, 0.0) for index in range(len(stage_names)))


def format_schedule(ratios: Sequence[float], stage_names: Sequence[str]) -> str:
    """Write ratios as the shortest text that `parse_schedule` reads back: the inverse of it.

    Stages are named by index, which is never ambiguous; an all-zero schedule is `si=0:0`.
    """
    if len(ratios) != len(stage_names):
        raise ConfigError(
            f"received {len(ratios)} ratios; expected one for each of {len(stage_names)} stages"
        )
    entries = [f"si={index}:{ratio!r}" for index, ratio in enumerate(ratios) if ratio]
    return ",".join(entries) or "si=0:0"


def _entries(text: str) -> Iterator[tuple[int, str]]:
    """Split at the commas outside brackets; yield each entry with its place in the text."""
    position = 0
    for part in re.split(r",(?![^\[]*\])", text):
        entry = part.strip()
        if not entry:
            raise ConfigError(
                f"schedule {text!r}, character {position + 1}: an entry is empty; expected "
                "stage:ratio entries separated by single commas (for no pruning write 'none')"
            )
        yield position + len(part) - len(part.lstrip()), entry
        position += len(part) + 1


def _parse_tail(text: str, num_stages: int) -> dict[int, float]:
    ratios = [_parse_ratio(part) for part in text.split(",")]
    if len(ratios) > num_stages:
        raise ConfigError(f"the tail has {len(ratios)} ratios but there are {num_stages} stages")
    first = num_stages - len(ratios)
    return {first + offset: ratio for offset, ratio in enumerate(ratios)}


def _parse_pair(entry: str, stage_names: Sequence[str]) -> dict[int, float]:
    key, colon, value = entry.rpartition(":")
    if not colon:
        raise ConfigError("there is no colon (write decimals with a point, as in 8:0.4)")
    if key.strip() == "all":
        return dict.fromkeys(range(len(stage_names)), _parse_ratio(value))
    return {_find_stage(key.strip(), stage_names): _parse_ratio(value)}


def _find_stage(key: str, stage_names: Sequence[str]) -> int:
    if re.fullmatch(r"si\s*=\s*\d+", key, re.ASCII):
        index = int(key.partition("=")[2])
        if index >= len(stage_names):
            raise ConfigError(f"there is no stage {index}; the last is {len(stage_names) - 1}")
        return index
    if key in stage_names:
        return list(stage_names).index(key)
    grids = [_GRID.fullmatch(name) for name in stage_names]
    found = [index for index, grid in enumerate(grids) if grid and grid["width"] == key]
    if not found:
        raise ConfigError(f"{key!r} is not a stage")
    if len(found) > 1:
        raise ConfigError(f"{key!r} fits several stages: {[stage_names[i] for i in found]}")
    return found[0]


def _parse_ratio(text: str) -> float:
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        raise ConfigError(f"{text!r} is not a decimal number")
    ratio = float(text)
    if not 0.0 <= ratio <= 1.0:
        raise ConfigError(f"the ratio {text} is outside [0, 1]")
    return ratio + 0.0  # -0.0 becomes 0.0
