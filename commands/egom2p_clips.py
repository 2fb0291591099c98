"""What `prunegym egom2p` works on: files of codes, videos, or walks that are drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Clip:
    """One input: its name, its codes, and what is known of the truth, by modality."""

    name: str
    codes: Any
    truth: dict[str, Any]


Read = Callable[[], Clip]


def clips(
    inputs: str, references: str | None, given: str, model: Any, coders: dict[str, Any]
) -> list[Read]:
    """The inputs; each is read when its turn comes.

    Args:
        inputs: a file, a folder, or `walks:SPLIT:COUNT`.
        references: a folder with the truth.
        given: the modality that is given.
        model: knows its sizes.
        coders: from `fourm_backend.video_coders.load_coders`.
    """
    from base.errors import ConfigError, DataError
    from fourm_backend.clip_files import CODE_FILES, VIDEO_FILES

    world, _, rest = inputs.partition(":")
    if world == "walks" and not Path(inputs).exists():
        return walk_clips(rest, given, coders)
    source = Path(inputs)
    files = [source]
    if source.is_dir():
        known = (*CODE_FILES, *VIDEO_FILES)
        files = sorted(path for path in source.iterdir() if path.suffix in known)
    if not files or not files[0].is_file():
        raise DataError(f"{source}: no {' or '.join(CODE_FILES)} files with video codes")
    videos = [file for file in files if file.suffix not in CODE_FILES]
    if videos and given not in coders:
        raise ConfigError(
            f"{videos[0]}: videos need their tokenizer; give --cosmos with a folder of the Cosmos "
            "tokenizer, or codes as .npz or .npy"
        )
    truth = None if references is None else Path(references)
    return [partial(read_file, file, given, model, coders, truth) for file in files]


def read_file(
    file: Path, given: str, model: Any, coders: dict[str, Any], references: Path | None
) -> Clip:
    """One input file, with its truth."""
    from fourm_backend.clip_files import CODE_FILES, read_array, read_clip

    if file.suffix in CODE_FILES:
        codes = read_array(file)
    else:
        side = model.config.inputs[given].image_size[0]
        codes = coders[given].encode(read_clip(file, side))
    truth = {}
    if references is not None:
        truth = read_truth(references, file.stem, list(model.config.outputs))
    return Clip(file.stem, codes, truth)


def read_truth(folder: Path, stem: str, targets: Sequence[str]) -> dict[str, Any]:
    """The truth of one clip: `STEM_TARGET.npy` of each target, or `STEM.npy` for any."""
    from base.errors import DataError
    from fourm_backend.clip_files import CODE_FILES, read_array

    truth = {}
    for target in targets:
        for name in (f"{stem}_{target}", stem):
            found = [p for suffix in CODE_FILES if (p := folder / f"{name}{suffix}").is_file()]
            if found and target not in truth:
                truth[target] = read_array(found[0])
    if not truth:
        raise DataError(f"{folder} has no {stem}.npy or {stem}.npz to compare with")
    return truth


def walk_clips(text: str, given: str, coders: dict[str, Any]) -> list[Read]:
    """Walks of `SPLIT:COUNT`, which come with their truth."""
    from base.errors import ConfigError
    from scenes.walk import walks
    from scenes.world import SPLITS

    split, _, count = text.partition(":")
    if split not in SPLITS or not (count.isascii() and count.isdigit() and int(count)):
        raise ConfigError(
            f"walks:{text}; expected walks:SPLIT:COUNT with a split of {', '.join(SPLITS)}"
        )
    if given not in coders:
        raise ConfigError(f"walks need a tokenizer of {given} in the model's folder")
    return [
        partial(walk_clip, f"{split}_{number:05d}", scene, given, coders)
        for number, scene in enumerate(walks(split, int(count)))
    ]


def walk_clip(name: str, scene: Any, given: str, coders: dict[str, Any]) -> Clip:
    """One walk."""
    from scenes.walk import draw_walk

    walk = draw_walk(scene)
    truth = {"tok_rgb": walk.frames, "tok_depth": walk.depth_m, "tok_cam": walk.poses}
    return Clip(name, coders[given].encode(truth[given]), truth)
