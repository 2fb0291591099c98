"""From what a user types to generators, prompts and requests: here the rooms meet."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from agents.prompts import PromptRecord, read_prompts
from base.cache_folder import cache_folder
from base.errors import CheckpointError, ConfigError, DataError
from commands.wiring_sign import load_sign, sign_requests, signer_prompts, video_prompts
from envs.generator import Generator

logger = logging.getLogger(__name__)
_ROOT = Path(__file__).parents[1]
SHIPPED = {  # models that come with the package
    "scenes": _ROOT / "infinity_backend" / "pretrained" / "scenes",
    "scenes-fourm": _ROOT / "fourm_backend" / "pretrained" / "scenes",
    "walks": _ROOT / "fourm_backend" / "pretrained" / "walks",
}
KEPT_SCORING_BYTES = 256 * 2**20  # of what scorers know of references
_TOY_SPLITS = {"train": 0, "validation": 1_000_000, "test": 2_000_000}  # first index of each


def choose_device(text: str) -> str:
    """Return the device that `text` names; `auto` is the accelerator if there is one.

    Raises:
        ConfigError: torch does not know it, or it is not there.
    """
    import torch

    if text == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=text)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"device {text!r} cannot be used ({reason}); expected auto, cpu, or cuda where there "
            "is one"
        ) from None
    return text


def load_generator(text: str, device: str = "cpu", **options: Any) -> Generator:
    """Load the generator that `text` names.

    Args:
        text: `scenes` (the small Infinity that comes with the package), `scenes-fourm` (the small
            4M), `walks` (the small EgoM2P, whose prompts are the same scenes, to walk through),
            `toy` (no model at all, for trying things out), `table:FILE` (what `prunegym tabulate`
            wrote, instead of the generator; `table:scenes` comes with the package), `fourm-toy` or
            `egom2p-toy` (small untrained models), `sign` (the small PoseFormer, on keypoints that
            were found before), `sign:recorded` (as the tracker found them in recorded runs) or
            `sign:live` (the tracker runs), each with the longest clip in frames or a SignON
            checkpoint behind it (`sign:300`, `sign:live:NGT.ckpt:300`), or a
            folder with a checkpoint: one with a `task.yaml` is a 4M or EgoM2P.
        device: where it runs; the toy is NumPy and stays where it is.
        options: `aspect_ratio`, `pruning`, `dtype` (`float32` or `bfloat16`) and
            `text_encoder_device` of an Infinity, as `InfinityPipeline.from_pretrained`
            takes them; those that are None are its own.

    Raises:
        ConfigError: options for a generator that has none.
        CheckpointError: there is no such folder, or its files are damaged.
        DataError: a table that is missing or damaged.
    """
    given = {name: value for name, value in options.items() if value is not None}
    kind = text.partition(":")[0]
    other = text in ("toy", "fourm-toy", "egom2p-toy") or kind in ("sign", "table")
    if given and (other or (model_folder(text) / "task.yaml").is_file()):
        raise ConfigError(f"generator {text!r} has no {', '.join(given)}; leave it out")
    if text == "toy":
        from envs.toy import ToyGenerator

        return ToyGenerator()
    if kind == "sign":
        return load_sign(text.split(":")[1:], device)
    if text in ("fourm-toy", "egom2p-toy"):
        from fourm_backend.toy import toy_egom2p, toy_fourm

        return toy_fourm(device) if text == "fourm-toy" else toy_egom2p(device)
    if text.startswith("table:"):
        from envs.decision_table import load_table
        from envs.tabulated import TableGenerator

        return TableGenerator(load_table(_table_file(text.removeprefix("table:"))))
    folder = model_folder(text)
    if not folder.is_dir():
        raise CheckpointError(
            f"generator {text!r}: {folder} is not a folder; expected 'scenes', 'scenes-fourm', "
            "'toy', table:FILE, fourm-toy, egom2p-toy, sign, sign:live, or a folder with a "
            "checkpoint"
        )
    if (folder / "task.yaml").is_file():
        from fourm_backend.pipeline import load_generator as load_fourm

        if not (folder / "tok_cam.safetensors").is_file():
            return load_fourm(folder, device)
        from scenes.walk_prompts import reader  # a prompt is a scene to walk through

        return load_fourm(folder, device, partial(reader, folder))
    import torch

    from infinity_backend.generator import InfinityGenerator

    if "dtype" in given:
        dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
        if given["dtype"] not in dtypes:
            raise ConfigError(f"dtype is {given['dtype']!r}; expected one of {', '.join(dtypes)}")
        given["dtype"] = dtypes[given["dtype"]]
    generator = InfinityGenerator.from_pretrained(folder, device=device, **given)
    if text != "scenes":  # whose text encoder is faster than a disk
        parts = generator.pipeline
        texts = cache_folder() / "text_features"
        parts.text_encoder.keep_in(texts, parts.weights_hash, 512 * 2**20)
    return generator


def _table_file(text: str) -> Path:
    """A file, or `scenes` for the table that comes with the package."""
    shipped = model_folder(text) / "table.npz"
    return shipped if not Path(text).is_file() and shipped.is_file() else Path(text)


def load_scorers(names: Sequence[str], generator: str, device: str = "cpu") -> list[Any]:
    """Build further figures of images, such as `lpips` and `clip`.

    One that cannot be computed here is left out, with a warning that says why.

    Args:
        names: as `prunegym evaluate --metrics` takes them.
        generator: as for `load_generator`; the CLIP in its folder stands in for the official one.
        device: where they run.

    Raises:
        ConfigError: an unknown name.
    """
    if not names:
        return []
    from eval.metrics.registry import MetricSettings, make_metrics

    known = "scenes" if generator in SHIPPED else generator  # one CLIP for one world
    clip = model_folder(known) / "clip"
    settings = MetricSettings(
        shipped_clip=clip if clip.is_dir() else None, device=device, kept_bytes=KEPT_SCORING_BYTES
    )
    metrics, not_computed = make_metrics(names, settings)
    for name, reason in not_computed.items():
        logger.warning("%s is not computed: %s", name, reason)
    return metrics


def load_prompts(text: str, first_seed: int = 0) -> list[PromptRecord]:
    """Load the prompts that `text` names.

    Args:
        text: a prompt file, or `scenes:SPLIT:COUNT`, `toy:SPLIT:COUNT` or `signer:SPLIT:COUNT`,
            where SPLIT is `train`, `validation` or `test`; no prompt is in two of them. For sign
            embedding also `videos:FOLDER`, every .mp4 below it (`videos:FOLDER:avi`: every .avi;
            with jpg or png, every folder of frames).
        first_seed: prompts that come without a seed get this one, the next one, and so on.

    Raises:
        ConfigError: a split or count that does not exist.
        DataError: a prompt file that is missing or broken.
    """
    world, _, rest = text.partition(":")
    if world == "videos" and not Path(text).exists():
        return video_prompts(rest, first_seed)
    worlds = {"scenes": _scene_prompts, "toy": _toy_prompts, "signer": signer_prompts}
    if world not in worlds or Path(text).exists():
        return read_prompts(text, first_seed)
    split, _, count = rest.partition(":")
    if split not in _TOY_SPLITS or not (count.isascii() and count.isdigit() and int(count)):
        raise ConfigError(
            f"prompts {text!r}; expected {world}:SPLIT:COUNT with a split of "
            f"{', '.join(_TOY_SPLITS)}, such as {world}:test:64"
        )
    return [
        PromptRecord(f"{split}_{number:05d}", prompt, first_seed + number, category)
        for number, (prompt, category) in enumerate(worlds[world](split, int(count)))
    ]


def make_requests(generator: Generator, prompts: Sequence[PromptRecord]) -> list[Any]:
    """Turn prompts into requests of this generator.

    Raises:
        DataError: a prompt that the generator cannot take, or that is not in the table.
    """
    from envs.tabulated import TableGenerator
    from envs.toy import ToyGenerator
    from fourm_backend.generator import FourMGenerator
    from infinity_backend.request import ImageRequest
    from sign_backend.generator import SignGenerator

    if not isinstance(generator, TableGenerator | ToyGenerator | FourMGenerator | SignGenerator):
        return [ImageRequest(p.prompt, p.seed, p.negative_prompt) for p in prompts]
    for record in prompts:
        if record.negative_prompt is not None:
            raise DataError(f"prompt {record.id}: this generator takes no negative prompts")
    if isinstance(generator, ToyGenerator):
        return [_toy_request(record) for record in prompts]
    if isinstance(generator, SignGenerator):
        return sign_requests(generator, prompts)
    return [generator.request(record.prompt, record.seed) for record in prompts]


def model_folder(name: str) -> Path:
    """The folder (or file) of a model that comes with the package, or that the user names."""
    return SHIPPED.get(name, Path(name))


def _scene_prompts(split: Any, count: int) -> list[tuple[str, str | None]]:
    from scenes.world import prompts

    # What the category says is what makes scenes cheap or costly: how busy they are.
    return [
        (scene.caption, f"{scene.ground} ground, objects: {len(scene.things)}")
        for scene in prompts(split, count)
    ]


def _toy_prompts(split: str, count: int) -> list[tuple[str, str | None]]:
    first = _TOY_SPLITS[split]
    return [(f"toy {index}", None) for index in range(first, first + count)]


def _toy_request(record: PromptRecord) -> Any:
    from envs.toy import ToyRequest

    word, _, index = record.prompt.partition(" ")
    if word != "toy" or not (index.isascii() and index.isdigit()):
        raise DataError(f"prompt {record.id}: {record.prompt!r}; the toy takes 'toy NUMBER'")
    return ToyRequest(int(index), record.seed)
