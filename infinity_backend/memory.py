"""How much memory a model will take, told before it is loaded."""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from infinity_backend.config import PipelineConfig
from infinity_backend.transformer import Infinity
from infinity_backend.vae import VAE

logger = logging.getLogger(__name__)
WORTH_A_LINE = 1e9  # bytes; below that nobody needs to plan


@dataclass(frozen=True)
class Memory:
    """Bytes: what the weights take, and what each image in a batch adds.

    Attributes:
        weights: transformer and VAE.
        keys_values: what all scales of one image leave for later ones, with guidance.
        restoration: updates of the cache stage for one image.
        passing: what the last scale of one image needs for itself while it runs.
        decoding: what decoding one image needs; keys and values are gone by then.
        text_encoder: its weights in float32; they may lie on another device.
    """

    weights: int
    keys_values: int
    restoration: int
    passing: int
    decoding: int
    text_encoder: int = 0

    @property
    def each_image(self) -> int:
        """The most that one image takes at a time."""
        return max(self.keys_values + self.restoration + self.passing, self.decoding)

    def __str__(self) -> str:
        weights, image = self.weights / 1e9, self.each_image / 1e9
        parts = [f"{weights:.1f} GB of weights", f"{image:.2f} GB an image"]
        if self.text_encoder:
            parts.append(f"{self.text_encoder / 1e9:.1f} GB for the text encoder")
        return ", ".join(parts)


def estimate_memory(
    config: PipelineConfig, dtype: torch.dtype = torch.float32, text_encoder: int = 0
) -> Memory:
    """The memory of a pipeline with blocks in `dtype`; no weights are needed.

    Weights and what is kept are exact. What passes through the last scale and the decoder follows
    from the tensors alive at their widest places (`python -m benchmarks.infinity_memory` counts
    them; of 2B within 1 %). Workspaces of single kernels come on top.

    Args:
        config: of the pipeline.
        dtype: number type of the blocks.
        text_encoder: its bytes (`TextEncoder.estimate_bytes`).
    """
    with torch.device("meta"):
        model, vae = Infinity(config.infinity), VAE(config.vae)
    for block in model.block_list():
        for part in (block.sa, block.ca, block.ffn):
            part.to(dtype)
    tensors = [t for module in (model, vae) for t in module.state_dict().values()]
    weights = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    branches = 1 if config.sampling.cfg == 1.0 else 2
    tokens = [height * width for height, width in config.schedule]
    depth, width = config.infinity.depth, config.infinity.embed_dim
    item = torch.empty(0, dtype=dtype).element_size()
    keys_values = sum(tokens[:-1]) * depth * 2 * width * branches * item
    # Widest in self-attention: four float32 and seven narrow tensors of the scale's tokens, and the
    # keys and values of all scales side by side.
    passing = branches * width * (tokens[-1] * (4 * 4 + 7 * item) + sum(tokens) * 2 * item)
    pruning, restoration = config.pruning, 0
    if pruning.restore == "cached" and pruning.cache_tokens in tokens:
        blocks = max(0, min(pruning.last_block, depth - 1) - pruning.first_block + 1)
        restoration = blocks * 3 * pruning.cache_tokens * width * branches * 4
    return Memory(weights, keys_values, restoration, passing, _decoding(config), text_encoder)


def _decoding(config: PipelineConfig) -> int:
    """Bytes of one decode: three tensors of a level's inputs, at the level where that is most."""
    vae, factor = config.vae, 2 if config.infinity.apply_spatial_patchify else 1
    height, width = config.schedule[-1]
    cells, most = height * width * factor**2, 0
    channels = vae.base_ch * vae.ch_mult[-1]
    for index in reversed(range(len(vae.ch_mult))):
        most = max(most, 3 * channels * cells * 4)
        channels = vae.base_ch * vae.ch_mult[index]
        if 1 <= index <= vae.num_halvings:
            cells *= 4
    return most


def announce(
    name: str | Path, memory: Memory, device: str, text_encoder_device: str | None = None
) -> None:
    """Log what a model is about to take, and a warning if the device has less.

    Args:
        name: of the model.
        memory: the estimate.
        device: where transformer and VAE will be.
        text_encoder_device: where the text encoder will be; by default there, too.
    """
    needed = memory.weights + memory.each_image
    if (text_encoder_device or device) == device:
        needed += memory.text_encoder
    if needed > WORTH_A_LINE:
        logger.info("%s needs %s", name, memory)
    free = free_bytes(device)
    if free is not None and needed > free:
        logger.warning(
            "%s needs %.1f GB on %s for one image at a time, and %.1f GB are free. With dtype "
            "bfloat16, the text encoder on another device or a smaller schedule it needs less",
            name,
            needed / 1e9,
            device,
            free / 1e9,
        )


def free_bytes(device: str) -> int | None:
    """Memory that can still be had there; None where the system does not tell."""
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    table = Path("/proc/meminfo")
    if torch.device(device).type != "cpu" or not table.is_file():
        return None
    lines = dict(line.split(":", 1) for line in table.read_text().splitlines() if ":" in line)
    found = lines.get("MemAvailable", "").split()
    return int(found[0]) * 1024 if found else None
