"""The pieces of one decoding step: reading the context, asking, mixing, choosing.

Glossary of shapes: P passes (with and without conditions), B rows, N context tokens, n asked
positions, L positions of the target, D width, V vocabulary. Masks are True where something is not
used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from base.errors import GenerationError
from fourm_backend.layers import KeysValues
from fourm_backend.model import FourM
from fourm_backend.packing import Packed, Sample, pack_inputs, pack_side_by_side
from fourm_backend.sampling import Noise, draw, lead, probabilities
from fourm_backend.schedule import Scale, Step

_LARGEST_DRAW = 2**25  # logits whose noise is drawn at once
_LARGEST_PADDED = 1.25  # tokens of passes that run together, over those that they have alone


@dataclass(frozen=True)
class Context:
    """What the decoder looks at, in one pass or in several that run together.

    Attributes:
        keys: keys and values, one a block, of P * B rows.
        ignored: [P * B, 1, N] bool, or None where all is looked at.
        passes: P; all rows of a pass follow those of the one before.
    """

    keys: Sequence[KeysValues]
    ignored: Tensor | None
    passes: int = 1


def read_contexts(model: FourM, passes: Sequence[Sample]) -> list[Context]:
    """Run the encoder on what is visible in each pass; passes of nearly equal length together.

    Passes whose contexts differ much (a video, and nothing at all) would mostly compute padding.
    """
    packed = [pack_inputs(model, sample) for sample in passes]
    counts = [each.content.shape[1] for each in packed]
    together = max(counts) * len(counts) <= _LARGEST_PADDED * sum(counts)
    groups = [packed] if together else [[each] for each in packed]
    return [_encode(model, pack_side_by_side(group), len(group)) for group in groups]


def _encode(model: FourM, packed: Packed, passes: int) -> Context:
    ignored = packed.ignored if bool(packed.ignored.any()) else None
    content, places, ignored = model.with_registers(packed.content, packed.places, ignored)
    if content.shape[1] == 0:
        return Context(model.context_keys(content), None, passes)
    encoded, _ = model.encode(content + places, ignored)
    return Context(model.context_keys(model.context(encoded, places)), ignored, passes)


def joined(contexts: Sequence[Context]) -> Context:
    """All passes in one context, padded: worth it where the decoder runs many times."""
    if len(contexts) == 1:
        return contexts[0]
    counts = [context.keys[0].keys.shape[2] for context in contexts]
    blocks = []
    for block in zip(*(context.keys for context in contexts), strict=True):
        wide = [each.padded(max(counts)) for each in block]
        blocks.append(
            KeysValues(torch.cat([kv.keys for kv in wide]), torch.cat([kv.values for kv in wide]))
        )
    masks = []
    for context, count in zip(contexts, counts, strict=True):
        mask = context.ignored
        if mask is None:
            keys = context.keys[0].keys
            mask = torch.zeros(len(keys), 1, count, dtype=torch.bool, device=keys.device)
        masks.append(F.pad(mask, (0, max(counts) - count), value=True))
    return Context(blocks, torch.cat(masks), sum(context.passes for context in contexts))


def ask(model: FourM, context: Context, domain: str, positions: Tensor) -> list[Tensor]:
    """Logits [B, n, V] in each pass of these positions [B, n] of a target; they see one another."""
    decoder = model.target(domain)
    queries = model.mask_token + decoder.fixed_places(1)[0][positions]
    queries = queries.repeat(context.passes, 1, 1)
    output, _ = model.decode(queries, context.keys, context.ignored)
    return list(decoder.to_logits(output).chunk(context.passes))


def mix(logits: Sequence[Tensor], scale: Scale) -> Tensor:
    """Classifier-free guidance.

    Args:
        logits: with a condition, then without; or one for each condition, then without.
        scale: one number, or one a condition.
    """
    *conditional, without = logits
    if not conditional:
        return without
    if not isinstance(scale, list):
        return without + scale * (conditional[0] - without)
    pairs = zip(scale, conditional, strict=False)
    return without + torch.stack([weight * (given - without) for weight, given in pairs]).sum(0)


def choose_positions(
    unfinished: Tensor, step: Step, noise: Noise, rows_are_told: str = "the sample"
) -> Tensor:
    """[B, n]: the positions that a step asks.

    Args:
        unfinished: [B, L] bool, True where something is still to be made.
        step: `maskgit` asks all of them, `roar` the first `num_tokens` of a random order.
        noise: gives the order.
        rows_are_told: for the error message.

    Raises:
        GenerationError: rows in which different numbers of tokens are left.
    """
    counts = unfinished.sum(1).tolist()
    if len(set(counts)) > 1:
        raise GenerationError(
            f"{step.target_domain}: rows of {rows_are_told} have {counts} tokens left to make; "
            "rows of one batch need equal numbers. Run rows with unequal targets apart"
        )
    if step.scheme == "maskgit":
        return (~unfinished).to(torch.uint8).argsort(dim=1, stable=True)[:, : counts[0]]
    assert step.num_tokens is not None
    order = noise.order(step.target_domain, len(unfinished), unfinished.shape[1])
    order = torch.where(unfinished, order.to(unfinished.device), 2.0)
    return order.argsort(dim=1)[:, : min(step.num_tokens, counts[0])]


@dataclass(frozen=True)
class Drawn:
    """What a step drew.

    Attributes:
        positions: [B, k] that are fixed from now on.
        tokens: [B, k].
        all_positions: [B, n] that were asked.
        all_tokens: [B, n].
        confidence: [B, n] chance that each drawn token had.
        leads: [B, n] by how much each of them won, see `sampling.lead`; None unless asked for.
    """

    positions: Tensor
    tokens: Tensor
    all_positions: Tensor
    all_tokens: Tensor
    confidence: Tensor
    leads: Tensor | None = None


def draw_tokens(
    logits: Tensor,
    positions: Tensor,
    step: Step,
    noise: Noise,
    top_k: int | float,
    top_p: float,
    with_leads: bool = False,
) -> Drawn:
    """Draw a token for every asked position, and keep those that the step fixes.

    Raises:
        GenerationError: logits that are not finite.
    """
    if not bool(torch.isfinite(logits).all()):
        raise GenerationError(
            f"{step.target_domain}: logits are not finite. Check the weights, or compute in float32"
        )
    parts = [
        _draw_part(logits[piece], positions[piece], step, noise, top_k, top_p, with_leads)
        for piece in _pieces(logits)
    ]
    tokens, confidence, *leads = (
        torch.cat([each.flatten() for each in piece]).view_as(positions)
        for piece in zip(*parts, strict=True)
    )
    kept = positions, tokens
    if step.scheme == "maskgit":
        assert step.num_tokens is not None
        best = confidence.topk(min(step.num_tokens, positions.shape[1]), dim=1).indices
        kept = positions.gather(1, best), tokens.gather(1, best)
    return Drawn(*kept, positions, tokens, confidence, *leads)


def _draw_part(
    logits: Tensor,
    positions: Tensor,
    step: Step,
    noise: Noise,
    top_k: int | float,
    top_p: float,
    with_leads: bool,
) -> tuple[Tensor, ...]:
    logits = logits.float()
    chances = probabilities(logits, step.temperature, top_k, top_p)
    exponential = None
    if chances is not None:
        exponential = noise.exponential(step.target_domain, positions, logits.shape[-1])
        exponential = exponential.to(logits.device)
    tokens, confidence = draw(logits, chances, exponential)
    if not with_leads:
        return tokens, confidence
    return tokens, confidence, lead(logits, chances, exponential)


def _pieces(logits: Tensor) -> list[Any]:
    """Slices of [B, n, V] that are drawn at once, in order: all, or some positions of one row."""
    rows, count, vocabulary = logits.shape
    size = max(_LARGEST_DRAW // vocabulary, 1)
    if rows == 1 and count > size:  # noise for a whole video would take gigabytes
        return [(slice(None), slice(start, start + size)) for start in range(0, count, size)]
    return [(slice(None), slice(None))]


def write_tokens(
    entry: Mapping[str, Tensor], drawn: Drawn, show: bool = False
) -> dict[str, Tensor]:
    """The target after a step; with `show` also what was drawn and not kept, for display."""
    ids = entry["tensor"].clone()
    flat = ids.view(len(ids), -1)
    flat.scatter_(1, drawn.positions, drawn.tokens.to(ids.dtype))
    if show:
        flat.scatter_(1, drawn.all_positions, drawn.all_tokens.to(ids.dtype))
    return {
        **entry,
        "tensor": ids,
        "input_mask": entry["input_mask"].scatter(1, drawn.positions, False),
        "target_mask": entry["target_mask"].scatter(1, drawn.positions, True),
    }
