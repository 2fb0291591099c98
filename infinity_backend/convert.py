"""Official checkpoints to a pipeline folder: configurations inferred, pairs checked, files written.

An official set is three things: the transformer (one `.pth`, or a folder of shards), the VAE
(a `.pth` with its weights under `vae`), and the folder of the T5 text encoder.
"""

import hashlib
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from base.errors import CheckpointError, ConfigError, ResourceError
from base.files import read_json
from base.weight_files import check_finite, check_weights_file, file_hash, read_weights
from infinity_backend.config import PipelineConfig, PruningConfig, SamplingConfig
from infinity_backend.memory import announce, estimate_memory
from infinity_backend.official import (
    check_names,
    find_release,
    transformer_config,
    vae_config,
)
from infinity_backend.parts import InfinityParts, assemble
from infinity_backend.schedule import nearest_template, official_schedule
from infinity_backend.text_encoder import TextEncoder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OfficialFiles:
    """Where the three parts lie."""

    transformer: Path
    vae: Path
    text_encoder: Path


def find_official(folder: Path) -> OfficialFiles | None:
    """The official set in a folder, if exactly one of each part is there."""
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    vaes = [e for e in entries if e.is_file() and e.name.startswith("infinity_vae")]
    transformers = [e for e in entries if find_release(e) is not None and e not in vaes]
    encoders = [e for e in entries if (e / "config.json").is_file() and e not in transformers]
    if [len(found) for found in (transformers, vaes, encoders)] != [1, 1, 1]:
        return None
    return OfficialFiles(transformers[0], vaes[0], encoders[0])


def load_official(
    files: OfficialFiles,
    resolution: str | None = None,
    aspect_ratio: float = 1.0,
    force: bool = False,
    **options: Any,
) -> InfinityParts:
    """Read official files into a pipeline.

    Args:
        files: the three parts.
        resolution: `0.06M`, `0.25M`, `0.60M` or `1M`; by default what the checkpoint was made for.
        aspect_ratio: height over width of the images; the nearest official template is taken.
        force: file names that ask for another VAE or resolution only warn.
        options: `device`, `dtype`, `text_encoder_device` as for `load_parts`.

    Raises:
        CheckpointError: a file is missing or damaged, or the parts do not belong together; the
            message says which file is expected.
        ConfigError: an unknown resolution.
    """
    config = official_config(files, resolution, aspect_ratio, force)
    encoder_bytes = TextEncoder.estimate_bytes(files.text_encoder)
    dtype, device = options.get("dtype", torch.float32), options.get("device", "cpu")
    memory = estimate_memory(config, dtype, encoder_bytes)
    announce(files.transformer, memory, device, options.get("text_encoder_device"))
    vae_state = read_weights(files.vae, inside="vae")
    state = read_weights(files.transformer)
    for tensors, path in ((state, files.transformer), (vae_state, files.vae)):
        check_finite(tensors, path)
    encoder = TextEncoder.from_pretrained(files.text_encoder, config.infinity.text_maxlen)
    return assemble(config, state, vae_state, encoder, _hash(files), **options)


def official_config(
    files: OfficialFiles, resolution: str | None, aspect_ratio: float, force: bool
) -> PipelineConfig:
    """The configuration of an official set, from names and shapes alone.

    Arguments and errors as for `load_official`; values are not read.
    """
    _check_text_encoder(files)
    vae = vae_config(read_weights(files.vae, inside="vae", device="meta"), files.vae)
    state = read_weights(files.transformer, device="meta")
    transformer = transformer_config(state, vae.codebook_dim, files.transformer)
    _check_width(files, transformer.text_channels)
    _object(check_names(files.transformer, files.vae), force)
    if find_release(files.transformer) is None and vae.codebook_dim == 32:
        logger.warning(
            "there are two 32-bit VAEs of equal shapes; the 2B model needs "
            "infinity_vae_d32reg.pth. The name of %s does not tell which model it is: if images "
            "look washed out, this is why",
            files.transformer,
        )
    schedule, rope_grid = official_schedule(
        nearest_template(aspect_ratio), _resolution(files.transformer, resolution, force)
    )
    release = find_release(files.transformer)
    return PipelineConfig(
        name=files.transformer.stem,
        infinity=transformer,
        vae=vae,
        schedule=schedule,
        rope_grid=rope_grid,
        sampling=SamplingConfig(cfg=release.cfg, tau=release.tau) if release else SamplingConfig(),
        pruning=PruningConfig(),
    )


def convert(
    files: OfficialFiles, out: Path, dtype: torch.dtype = torch.float32, **choices: Any
) -> PipelineConfig:
    """Write the pipeline folder of an official set.

    Args:
        files: the three parts.
        out: a folder that holds no pipeline yet.
        dtype: number type that the blocks are stored in; all else stays float32.
        choices: `resolution`, `aspect_ratio`, `force`, as for `load_official`.

    Raises:
        CheckpointError, ConfigError: see `load_official`.
        ResourceError: the disk is too small.
    """
    if (out / "config.json").exists():
        raise ConfigError(f"{out} holds a pipeline already; choose another folder, or remove it")
    parts = load_official(files, dtype=dtype, **choices)
    stepper, encoder = parts.stepper, parts.text_encoder.model
    tensors = [t for m in (stepper.model, stepper.vae, encoder) for t in m.state_dict().values()]
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    out.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(out).free
    if free < needed:
        raise ResourceError(
            f"{out} has {free / 1e9:.1f} GB free; the pipeline needs {needed / 1e9:.1f} GB"
            + (" (with --dtype bfloat16 less)" if dtype == torch.float32 else "")
        )
    parts.save_pretrained(out)
    return parts.config


def _resolution(transformer: Path, wanted: str | None, force: bool) -> str:
    release = find_release(transformer)
    if release is None:
        if wanted is None:
            raise ConfigError(
                f"the name of {transformer} does not tell which resolution it was trained for; "
                "give --resolution 0.06M, 0.25M, 0.60M or 1M"
            )
        return wanted
    if wanted is not None and wanted != release.resolution:
        _object(
            f"{transformer.name} was trained for {release.resolution} pixels; received {wanted}, "
            "at which its images fall apart",
            force,
        )
    return wanted or release.resolution


def _object(sentence: str | None, force: bool) -> None:
    """Refuse, or warn when the user insists."""
    if sentence is None:
        return
    if not force:
        raise CheckpointError(f"{sentence}. If the files were only renamed, say --force")
    logger.warning("%s. Going on, because of --force", sentence)


def _check_text_encoder(files: OfficialFiles) -> None:
    if not (files.text_encoder / "config.json").is_file():
        raise CheckpointError(
            f"{files.text_encoder} holds no text encoder (config.json is missing); expected the "
            "folder of flan-t5-xl"
        )
    check_weights_file(files.text_encoder / "config.json", holds_json=True)


def _check_width(files: OfficialFiles, channels: int) -> None:
    settings: Mapping[str, Any] = read_json(files.text_encoder / "config.json")
    width = settings.get("d_model")
    if width != channels:
        raise CheckpointError(
            f"the text encoder in {files.text_encoder} gives {width} channels; "
            f"{files.transformer.name} was made for {channels}. Expected "
            + ("flan-t5-xl" if channels == 2048 else f"a T5 encoder with d_model {channels}")
        )


def _hash(files: OfficialFiles) -> str:
    """One short hash of all weight files, in a fixed order."""
    paths = [files.vae]
    for part in (files.transformer, files.text_encoder):
        found = [part] if part.is_file() else sorted(part.glob("*.safetensors"))
        paths += found or sorted(part.glob("*.bin"))
    together = "".join(file_hash(path) for path in paths)
    return hashlib.sha256(together.encode()).hexdigest()[:16]
