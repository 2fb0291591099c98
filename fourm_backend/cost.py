"""Costs in closed form: FLOPs of matrix products, a multiply-add being two.

Each equals `torch.utils.flop_counter` on a batch of one under `sdpa_kernel(SDPBackend.MATH)`.

Symbols: N context tokens, n of them encoded now, M queries, D width, V vocabulary, E width of what
a projected input token holds (pixels of a patch, a text vector).
"""

from dataclasses import replace
from math import prod

from fourm_backend.config import Architecture
from fourm_backend.modalities import Modality
from fourm_backend.tokenizer import TokenizerSettings


def feed_forward_flops(config: Architecture, tokens: int) -> int:
    """One feed-forward layer."""
    matrices = 3 if config.gated_mlp else 2
    return 2 * matrices * tokens * config.dim * config.mlp_hidden


def context_flops(config: Architecture, fresh: int, total: int) -> int:
    """Encoder, projection of the context, and the keys and values that the decoder makes of it.

    Args:
        config: the model.
        fresh: tokens that are encoded now, n; the others keep what was computed of them.
        total: tokens that these look at, N.
    """
    width = config.dim
    block = 8 * fresh * width**2 + 4 * fresh * total * width + feed_forward_flops(config, fresh)
    projection = 2 * fresh * width**2
    keys_values = config.decoder_depth * 4 * fresh * width**2
    return config.encoder_depth * block + projection + keys_values


def query_flops(config: Architecture, queries: int, context: int, vocabulary: int) -> int:
    """Decoder and head for M queries that see one another and N context tokens."""
    width = config.dim
    own = 8 * queries * width**2 + 4 * queries**2 * width
    if context:
        across = 4 * queries * width**2 + 4 * queries * context * width
    else:  # nothing to look at: only the last projection is left
        across = 2 * queries * width**2
    block = own + across + feed_forward_flops(config, queries)
    return config.decoder_depth * block + 2 * queries * width * vocabulary


def rebuild_flops(settings: TokenizerSettings) -> int:
    """A tokenizer's decoder, from codes to values of one sample."""
    cells, width = prod(settings.grid), settings.dim
    block = context_flops(replace(settings.blocks, encoder_depth=1, decoder_depth=0), cells, cells)
    block -= 2 * cells * width**2  # there is no projection of a context
    ends = settings.latent_dim + 8 * width + settings.channels * prod(settings.patch)
    return settings.depth * block + 2 * cells * width * ends


def projection_flops(config: Architecture, modality: Modality, tokens: int) -> int:
    """What it costs, once, to project pixels or vectors; token ids are only looked up."""
    if modality.kind == "image_pixels":
        assert modality.patch_size is not None
        return 2 * tokens * modality.patch_size**2 * modality.channels * config.dim
    if modality.kind == "sequence_embeddings":
        return 2 * tokens * modality.channels * config.dim
    return 0
