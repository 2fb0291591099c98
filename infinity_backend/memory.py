"""How much memory a model will take, told before it is loaded."""

from dataclasses import dataclass

import torch

from infinity_backend.config import PipelineConfig
from infinity_backend.transformer import Infinity
from infinity_backend.vae import VAE


@dataclass(frozen=True)
class Memory:
    """Bytes: what the weights take, and what each image in a batch adds.

    Attributes:
        weights: transformer and VAE, without the text encoder.
        keys_values: what all scales of one image leave for the later ones, with guidance.
        restoration: updates of the cache stage for one image.
    """

    weights: int
    keys_values: int
    restoration: int

    @property
    def each_image(self) -> int:
        """What one image adds until it is finished, besides passing activations."""
        return self.keys_values + self.restoration

    def __str__(self) -> str:
        return f"{self.weights / 1e9:.1f} GB of weights, {self.each_image / 1e9:.2f} GB an image"


def estimate_memory(config: PipelineConfig, dtype: torch.dtype = torch.float32) -> Memory:
    """The memory of a pipeline with blocks in `dtype`; no weights are needed.

    The text encoder is not counted: it can stay on another device, and can be dropped once the
    features of all prompts are known (flan-t5-xl takes 4.9 GB in float32).
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
    keys_values = sum(tokens) * depth * 2 * width * branches * item
    pruning, restoration = config.pruning, 0
    if pruning.restore == "cached" and pruning.cache_tokens in tokens:
        blocks = max(0, min(pruning.last_block, depth - 1) - pruning.first_block + 1)
        restoration = blocks * 3 * pruning.cache_tokens * width * branches * 4
    return Memory(weights, keys_values, restoration)
