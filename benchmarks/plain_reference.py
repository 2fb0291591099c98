"""A plain re-statement of one-shot generation: one image, a growing cache, nothing else.

What the reference does, read top to bottom, on the same weights: all scales in order, both branches
always, keys and values concatenated scale by scale, text keys computed in every block of every
scale. No state, no pruning, no batching. Greedy bits, so that two programs can be compared.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from infinity_backend.bsq import resize
from infinity_backend.generate import Stepper
from infinity_backend.rope import rope_table
from infinity_backend.text import TextCondition


@torch.no_grad()
def plain_generate(stepper: Stepper, text: TextCondition) -> Tensor:
    """Summed codes [1, d, H, W] of one prompt, likeliest bits, without patchify."""
    model, config = stepper.model, stepper.config
    unconditional = text.unconditional(model.cfg_uncond)
    both = TextCondition(
        torch.cat([text.features, unconditional.features]), text.lengths + unconditional.lengths
    )
    pooled, shared, tokens = model.condition(both)
    head = model.head_nm.modulation(pooled)[:, None].unbind(2)  # type: ignore[union-attr]
    blocks = model.block_list()
    cache: list[list[Tensor]] = [[] for _ in blocks]  # per block keys, values [2, H, m, c]
    last = config.schedule[-1]
    codes = torch.zeros(1, config.infinity.bits, *last, device=pooled.device)
    for stage, grid in enumerate(config.schedule):
        rope = rope_table(
            grid,
            config.rope_grid,
            config.infinity.head_dim,
            config.infinity.rope2d_normalized_by_hw,
        ).to(pooled.device)
        if stage == 0:
            x = pooled[:, None] + model.pos_start
        else:
            x = model.embed(resize(codes, grid).flatten(2).transpose(1, 2)).repeat(2, 1, 1)
        x = x + model.lvl_embed.weight[stage]
        for index, block in enumerate(blocks):
            modulation = block.modulation(shared)[:, None].unbind(2)

            def attend(
                q: Tensor,
                k: Tensor,
                v: Tensor,
                past: list[Tensor] = cache[index],
                scale: float = block.sa.scale,
            ) -> Tensor:
                q, k, v = (part.transpose(1, 2) for part in (q, k, v))
                if past:
                    k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
                past[:] = [k, v]
                return F.scaled_dot_product_attention(q, k, v, scale=scale).transpose(1, 2)

            keys, values = block.ca.keys_values(tokens.to(block.ca.proj.weight.dtype))

            def attend_text(
                q: Tensor, k: Tensor = keys, v: Tensor = values, scale: float = block.ca.scale
            ) -> Tensor:
                q, k, v = (part.transpose(1, 2) for part in (q, k, v))
                return F.scaled_dot_product_attention(q, k, v, scale=scale).transpose(1, 2)

            x = x + block.self_attention(x, modulation, rope, attend)
            x = x + block.cross_attention(x, attend_text)
            x = x + block.feed_forward(x, modulation)
        conditional, bare = model.logits(x, head).chunk(2)
        cfg = stepper.cfg[stage]
        logits = cfg * conditional + (1.0 - cfg) * bare
        bits = (logits[..., 1::2] > logits[..., 0::2]).float()  # [1, L, d]
        code = ((2.0 * bits - 1.0) / bits.shape[-1] ** 0.5).transpose(1, 2).unflatten(2, grid)
        codes = codes + resize(code, last)
    return codes
