"""The model as it was trained: all targets of a sample at once, and the losses.

Glossary of shapes: B rows, N context tokens, M target tokens, D width, V vocabulary.
Masks are True where something is not used.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fourm_backend.modalities import TEXT_LIKE
from fourm_backend.model import FourM
from fourm_backend.packing import Packed, Sample, keep_order, pack_inputs, take


@dataclass(frozen=True)
class Targets:
    """What the decoder is asked.

    Attributes:
        packed: content (mask token, or the token before the asked one) and places.
        ids: [B, M] the right answers, 0 where ignored.
        hidden: [B, M, M] bool: which query may not see which.
    """

    packed: Packed
    ids: Tensor
    hidden: Tensor


@dataclass(frozen=True)
class Forward:
    """Everything that a plain forward pass computes.

    Attributes:
        inputs: the encoder's input.
        encoded: [B, N, D].
        context: [B, N, D].
        targets: what was asked.
        output: [B, M, D] of the decoder.
        logits: by modality: of the positions of that modality, [positions, V] in row order.
    """

    inputs: Packed
    encoded: Tensor
    context: Tensor
    targets: Targets
    output: Tensor
    logits: dict[str, Tensor]


def forward(
    model: FourM,
    sample: Sample,
    num_encoder_tokens: int,
    num_decoder_tokens: int,
    target_order: Sequence[str] | None = None,
) -> Forward:
    """Run the model on all visible inputs and all targets.

    Args:
        model: the model.
        sample: with `input_mask`, `target_mask` and `decoder_attention_mask`.
        num_encoder_tokens: inputs that are kept.
        num_decoder_tokens: targets that are kept.
        target_order: modalities as the decoder meets them; None draws an order with Python's
            `random`, as in training.
    """
    inputs = pack_inputs(model, sample, num_encoder_tokens)
    content, places, ignored = model.with_registers(inputs.content, inputs.places, inputs.ignored)
    encoded, _ = model.encode(content + places, ignored)
    context = model.context(encoded, places)
    if target_order is None:
        names = [name for name in sample if name in model.decoder_embeddings]
        target_order = random.sample(names, len(names))
    targets = pack_targets(model, sample, target_order, num_decoder_tokens)
    asked = targets.packed.content + targets.packed.places
    output, _ = model.decode(asked, model.context_keys(context), ignored, targets.hidden)
    logits = {}
    for name in target_order:
        chosen = targets.packed.tags == model.config.outputs[name].id
        logits[name] = model.target(name).to_logits(output[chosen])
    return Forward(inputs, encoded, context, targets, output, logits)


def pack_targets(model: FourM, sample: Sample, order: Sequence[str], limit: int) -> Targets:
    """Pack what the decoder is asked; sequences are asked for the next token."""
    parts: dict[str, list[Tensor]] = {
        key: [] for key in ("content", "places", "mask", "tags", "ids", "rule")
    }
    for name in order:
        entry, module = sample[name], model.target(name)
        mask = entry["target_mask"]
        ids = entry["tensor"].flatten(1).long()
        places, rule = module.places(mask), entry["decoder_attention_mask"].long()
        if module.modality.type in TEXT_LIKE:
            content = module.token_emb(ids)[:, :-1]
            ids, places, rule = ids[:, 1:], places[:, :-1], rule[:, :-1]
            mask = mask[:, 1:] | mask[:, :-1]
        else:
            content = model.mask_token.expand_as(places)
        tags = torch.full_like(ids, module.modality.id)
        values = {"content": content, "places": places, "mask": mask, "tags": tags}
        for key, value in {**values, "ids": ids, "rule": rule}.items():
            parts[key].append(value)
    joined = {key: torch.cat(values, dim=1) for key, values in parts.items()}
    kept = keep_order(joined["mask"], limit)
    values = {key: take(value, kept) for key, value in joined.items()}
    ignored = values["mask"]
    hidden = hidden_pairs(model, values["rule"], values["tags"])
    packed = Packed(
        values["content"].masked_fill(ignored[..., None], 0.0),
        values["places"].masked_fill(ignored[..., None], 0.0),
        ignored[:, None],
        values["tags"].masked_fill(ignored, -1),
    )
    return Targets(packed, values["ids"].masked_fill(ignored, 0), hidden)


def hidden_pairs(model: FourM, rule: Tensor, tags: Tensor) -> Tensor:
    """[B, M, M] bool from the rule vectors [B, M]: how many targets each one opens to see."""
    config = model.config.architecture
    count = rule.shape[1]
    if config.decoder_causal_mask:
        hidden = torch.ones(count, count, dtype=torch.bool, device=rule.device).triu(1)
        hidden = hidden.expand(len(rule), -1, -1)
    else:
        keys = torch.arange(count, device=rule.device)
        hidden = keys[None, None] >= rule.cumsum(1)[:, :, None]
    if config.decoder_sep_mask:
        hidden = hidden | (tags[:, :, None] != tags[:, None, :])
    return hidden


def losses(result: Forward, model: FourM, kind: str = "mod") -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of a forward pass.

    Args:
        result: from `forward`.
        model: the same model.
        kind: `mod` (mean over modalities, absent ones counted as 0), `token` (weighted by the
            number of logits) or `weighted_mod` (each divided by the log of its vocabulary, times
            log 256: EgoM2P).

    Returns:
        The loss, and the unweighted one of each modality.
    """
    each: dict[str, Tensor] = {}
    weights: Mapping[str, float] = {}
    for name, logits in result.logits.items():
        wanted = result.targets.ids[result.targets.packed.tags == model.config.outputs[name].id]
        each[name] = F.cross_entropy(logits, wanted) if len(wanted) else logits.sum() * 0.0
    if kind == "token":
        weights = {name: logits.numel() for name, logits in result.logits.items()}
        total = sum(weights.values())
        weights = {name: weight / total for name, weight in weights.items()}
    else:
        weights = dict.fromkeys(each, 1 / len(each))
    if kind == "weighted_mod":
        outputs = model.config.outputs
        weights = {
            name: weight * math.log(256) / math.log(outputs[name].vocab_size)
            for name, weight in weights.items()
        }
    return torch.stack([weights[name] * loss for name, loss in each.items()]).sum(), each
