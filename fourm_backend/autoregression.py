"""Text-like targets: one token after the other, each looking at those before it.

Keys and values of tokens and of the context are computed once.

Glossary of shapes: B rows, n positions to fill, D width, V vocabulary.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from base.errors import DataError, GenerationError
from fourm_backend.decoding import Context, joined, mix
from fourm_backend.layers import Past, RoomyKeysValues
from fourm_backend.model import FourM
from fourm_backend.packing import keep_order, take
from fourm_backend.sampling import Noise, draw, probabilities
from fourm_backend.schedule import Step
from fourm_backend.text import SENTINELS, merged_entry


def write_text(
    model: FourM,
    entry: Mapping[str, Tensor],
    contexts: Sequence[Context],
    step: Step,
    noise: Noise,
    top_k: int | float = 0.0,
    top_p: float = 0.0,
    sentinels: Collection[int] = SENTINELS,
    record: Callable[[str, Tensor], None] | None = None,
) -> dict[str, Tensor]:
    """Make a text-like target to its end.

    Args:
        model: the model.
        entry: the target: where `target_mask` is False, the first id starts the decoder and the
            last one stops it.
        contexts: with the conditions, then without them where the step is guided; all passes of a
            token run together.
        step: temperature and guidance.
        noise: see `fourm_backend.sampling`.
        top_k: see `filter_logits`.
        top_p: see `filter_logits`.
        sentinels: ids of sentinels.
        record: called with `ar_logits` [B, V] of each pass.

    Returns:
        The target with what was given and made, all visible.

    Raises:
        DataError: a row in which nothing is to be made.
        GenerationError: logits that are not finite.
    """
    decoder, name = model.target(step.target_domain), step.target_domain
    unused = entry["target_mask"]
    counts = (~unused).sum(1)
    if int(counts.min()) == 0:
        raise DataError(f"{name}: a row has no position to fill (target_mask is True everywhere)")
    order = keep_order(unused, int(counts.max()))
    ids, padding = take(entry["tensor"].long(), order), take(unused, order)
    places = decoder.places(unused)
    places = take(places, order).masked_fill(padding[..., None], 0.0)
    limit = decoder.modality.max_tokens
    places = places if limit is None else places[:, :limit]
    stop = ids.gather(1, counts[:, None] - 1)[:, 0]  # [B]
    written = [ids[:, 0]]
    ended = written[0] == stop  # [B]
    context = joined(contexts)
    past: Sequence[Past] | None = None
    for index in range(places.shape[1]):
        query = decoder.token_emb(written[-1])[:, None] + places[:, index : index + 1]
        query = query.repeat(context.passes, 1, 1)
        output, past = model.decode(query, context.keys, context.ignored, past=past)
        if index == 0:
            past = [RoomyKeysValues(block, places.shape[1]) for block in past]
        each = decoder.to_logits(output[:, 0]).chunk(context.passes)
        if record is not None:
            for one in each:
                record("ar_logits", one)
        logits = mix(each, step.cfg_scale).float()
        if not bool(torch.isfinite(logits).all()):
            raise GenerationError(f"{name}: logits of token {index} are not finite")
        chances = probabilities(logits, step.temperature, top_k, top_p)
        exponential = None
        if chances is not None:
            position = torch.full((len(ids), 1), index)
            exponential = noise.exponential(name, position, logits.shape[-1])[:, 0].to(logits)
        token, _ = draw(logits, chances, exponential)
        written.append(token)
        ended = ended | (token == stop)
        if bool(ended.all()):
            break
    rows = torch.stack(written, dim=1).tolist()
    # A row has as many places as it would have alone, however long its neighbours are.
    rows = [row[: count + 1] for row, count in zip(rows, counts.tolist(), strict=True)]
    return merged_entry(entry, rows, sentinels)
