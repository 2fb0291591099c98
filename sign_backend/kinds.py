"""The kinds of embeddings that can be asked for."""

from base.errors import ConfigError

KINDS = ("spatial", "temporal", "CLS", "probabilities", "logits", "softmax")
SCORES = ("probabilities", "logits", "softmax")  # one value a gloss; the rest has D values


def check_kind(kind: str) -> None:
    """Raise a `ConfigError` for a kind that does not exist."""
    if kind not in KINDS:
        raise ConfigError(f"embedding kind {kind!r}; expected one of {', '.join(KINDS)}")
