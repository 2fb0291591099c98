"""Costs in closed form: FLOPs of matrix products and convolutions, a multiply-add being two.

Each equals `torch.utils.flop_counter` on a batch of one, without padding, under
`sdpa_kernel(SDPBackend.MATH)`. The text's keys and values are paid once per image, in `begin`.

Symbols: n processed tokens, K cached keys (this stage's included), T text tokens, C width,
d bits per token, b branches.
"""

from collections.abc import Sequence

from torch import nn

from infinity_backend.architecture import InfinityConfig
from infinity_backend.config import PipelineConfig
from infinity_backend.vae import VAE


def text_flops(config: InfinityConfig, text_lengths: Sequence[int]) -> int:
    """What a prompt costs before the first stage; one entry of `text_lengths` per branch."""
    width, text_width = config.embed_dim, config.text_channels
    total = 0
    for tokens in text_lengths:
        pool = 4 * tokens * text_width * width + 4 * tokens * width + 2 * width**2
        projection = 2 * tokens * text_width * width + 2 * tokens * width**2
        keys_values = config.depth * 4 * tokens * width**2
        shared = 12 * width**2 if config.shared_aln else 0
        head = 4 * width**2 if config.head_aln else 0
        total += pool + projection + keys_values + shared + head
    return total


def block_flops(
    config: InfinityConfig, attended: int, keys: int, tokens: int, text_tokens: int
) -> int:
    """One block for one row: `attended` tokens in self-attention, `tokens` in the rest."""
    width = config.embed_dim
    self_attention = 8 * attended * width**2 + 4 * attended * keys * width
    cross_attention = 4 * tokens * width**2 + 4 * tokens * text_tokens * width
    feed_forward = (6 if config.swiglu else 4) * tokens * width * config.ffn_hidden
    modulation = 0 if config.shared_aln else 12 * width**2
    return self_attention + cross_attention + feed_forward + modulation


def stage_flops(
    config: PipelineConfig,
    stage: int,
    ratio: float,
    past: Sequence[tuple[int, int]],
    text_lengths: Sequence[int],
    cfg: float,
) -> int:
    """One stage of one request that is not skipped.

    Args:
        config: the whole pipeline's.
        stage: index into the schedule.
        ratio: share of the tokens that prunable blocks leave out.
        past: of each earlier stage that ran, the keys that it left in dense and in prunable blocks.
        text_lengths: text tokens of each branch that runs.
        cfg: guidance strength of the stage.
    """
    model, pruning = config.infinity, config.pruning
    height, width = config.schedule[stage]
    tokens = height * width
    kept = pruning.kept_tokens(tokens, ratio) if ratio > 0 else tokens
    attended = pruning.attended_tokens(tokens, ratio)
    past_tokens, past_kept = sum(full for full, _ in past), sum(few for _, few in past)
    past_anchor = sum(full if full >= pruning.cache_tokens else few for full, few in past)
    leaves = pruning.restore == "no_code"  # pruned tokens never come back
    total = 0 if stage == 0 else 2 * tokens * model.bits * model.embed_dim
    for text_tokens in text_lengths:
        for block in range(model.depth):
            prunable = block >= pruning.first_block and (leaves or block <= pruning.last_block)
            if not prunable:
                total += block_flops(model, tokens, past_tokens + tokens, tokens, text_tokens)
            elif pruning.measures_at(block, tokens):
                total += block_flops(model, tokens, past_anchor + tokens, kept, text_tokens)
            else:
                total += block_flops(model, attended, past_kept + attended, kept, text_tokens)
    mixes = len(text_lengths) == 2 and cfg != 1.0 and 0 in config.sampling.cfg_insertion_layer
    head_tokens = kept if leaves and pruning.first_block < model.depth else tokens
    per_token = 4 * model.embed_dim * model.bits
    if model.head_depth == 2:
        per_token += 2 * model.embed_dim**2
    return total + (2 if mixes else 1) * head_tokens * per_token


def decoder_flops(vae: VAE, grid: tuple[int, int]) -> int:
    """Decoding one image from codes on `grid`: the sum over all convolutions."""
    decoder, total = vae.decoder, 0
    cells = grid[0] * grid[1]
    total += _convolutions(decoder.conv_in, cells) + _convolutions(decoder.mid, cells)
    for level in reversed(decoder.up):
        total += _convolutions(level.get_submodule("block"), cells)
        upsample = getattr(level, "upsample", None)
        if upsample is not None:
            cells *= 4
            total += _convolutions(upsample, cells)
    return total + _convolutions(decoder.conv_out, cells)


def _convolutions(module: nn.Module, cells: int) -> int:
    """All convolutions of a module at one resolution."""
    return sum(
        2 * conv.weight.numel() * cells for conv in module.modules() if isinstance(conv, nn.Conv2d)
    )


def t5_encoder_flops(config: object, tokens: int) -> int:
    """A T5 encoder on one prompt; `config` is a `transformers.T5Config`."""
    width, inner = config.d_model, config.num_heads * config.d_kv  # type: ignore[attr-defined]
    matrices = 3 if config.is_gated_act else 2  # type: ignore[attr-defined]
    attention = 8 * tokens * width * inner + 4 * tokens**2 * inner
    feed_forward = 2 * matrices * tokens * width * config.d_ff  # type: ignore[attr-defined]
    return config.num_layers * (attention + feed_forward)  # type: ignore[attr-defined]
