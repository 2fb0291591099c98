"""From a folder to a model in memory: a pipeline folder, or the official files side by side."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from base.errors import CheckpointError
from base.files import read_json
from base.weight_files import check_hash, read_weights
from infinity_backend.config import PipelineConfig, SamplingConfig
from infinity_backend.convert import find_official, load_official
from infinity_backend.memory import announce, estimate_memory
from infinity_backend.parts import InfinityParts, assemble
from infinity_backend.schedule import change_aspect
from infinity_backend.text_encoder import TextEncoder

PRETRAINED = Path(__file__).parent / "pretrained"


def load_parts(
    folder: str | Path,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    sampling: SamplingConfig | None = None,
    aspect_ratio: float | None = None,
    pruning: Mapping[str, Any] | None = None,
    text_encoder_device: str | None = None,
) -> InfinityParts:
    """Load a pipeline folder, or a folder with the official files.

    Args:
        folder: a path, or the name of a model that comes with the package (`scenes`).
        device: where to run.
        dtype: number type of the blocks; norms, head and residual stream stay float32.
        sampling: replaces the folder's own settings.
        aspect_ratio: height over width of the images, for models with an official schedule.
        pruning: fields of `PruningConfig` that replace the folder's own, such as
            `{"selection": "hybrid"}`.
        text_encoder_device: where the text encoder stays; `cpu` leaves a small card to the
            transformer. Features are remembered per prompt. Default: `device`.

    Raises:
        CheckpointError: a file is missing, damaged, or does not fit the configuration.
        ConfigError: config.json cannot be used.
    """
    path = Path(folder)
    shipped = PRETRAINED / str(folder)
    if not (path / "config.json").is_file() and (shipped / "config.json").is_file():
        path = shipped
    where: dict[str, Any] = {"device": device, "dtype": dtype}
    where["text_encoder_device"] = text_encoder_device
    if (path / "config.json").is_file():
        parts = _from_folder(path, where)
    else:
        parts = _from_official(path, where)
    config = parts.config
    if sampling is not None:
        config = replace(config, sampling=sampling)
    if pruning:
        config = replace(config, pruning=replace(config.pruning, **pruning))
    if aspect_ratio is not None:
        schedule, rope_grid = change_aspect(config.schedule, config.rope_grid, aspect_ratio)
        config = replace(config, schedule=schedule, rope_grid=rope_grid)
    return replace(parts, stepper=replace(parts.stepper, config=config))


def _from_folder(path: Path, where: dict[str, Any]) -> InfinityParts:
    config = PipelineConfig.from_json(read_json(path / "config.json"))
    written = path / "checksums.json"
    sums = read_json(written) if written.is_file() else {}
    encoder_bytes = TextEncoder.estimate_bytes(path / "text_encoder")
    memory = estimate_memory(config, where["dtype"], encoder_bytes)
    announce(path, memory, where["device"], where["text_encoder_device"])
    digest = hashlib.sha256()
    states = []
    for name in ("transformer", "vae"):
        file = path / f"{name}.safetensors"
        states.append(read_weights(file))
        digest.update(bytes.fromhex(check_hash(file, sums.get(file.name))))
    encoder = TextEncoder.from_pretrained(path / "text_encoder", config.infinity.text_maxlen)
    for file in sorted((path / "text_encoder").glob("*.safetensors")):
        digest.update(bytes.fromhex(check_hash(file, sums.get(f"text_encoder/{file.name}"))))
    return assemble(config, states[0], states[1], encoder, digest.hexdigest()[:16], **where)


def _from_official(path: Path, where: dict[str, Any]) -> InfinityParts:
    files = find_official(path)
    if files is None:
        raise CheckpointError(
            f"{path} is neither a pipeline folder (config.json is missing) nor a folder with "
            "one official transformer, one infinity_vae*.pth and one T5 folder. Known names "
            f"are {sorted(e.name for e in PRETRAINED.glob('*') if e.is_dir())}; "
            "`prunegym convert` makes a pipeline folder of official files"
        )
    return load_official(files, **where)
