"""Settings as plain dataclasses; a pipeline folder's `config.json` holds them all."""

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from base.errors import ConfigError
from infinity_backend.architecture import InfinityConfig, VAEConfig


@dataclass(frozen=True)
class PruningConfig:
    """What pruning means for this model; it travels with the weights.

    Attributes:
        first_block, last_block: prunable blocks, both included (official: 3 to 27).
        cache_tokens: the stage with this many tokens fills the restoration cache (24x24 = 576).
        restore: what a pruned token receives. `cached`: each sub-layer's update of the cache stage,
            area-resized (FastVAR). `zero`: no update. `no_code`: the token leaves at the first
            prunable block and adds no code at this stage.
        keep_rounding: `floor_kept` keeps max(1, floor(L (1 - r))); `floor_pruned` L - floor(L r).
        selection: which tokens stay, see `infinity_backend/selection.py`.
        anchor_block: where `entropy` and `hybrid` measure attention; its self-attention is never
            pruned from the stage with `cache_tokens` tokens on.
        self_attention_share: self-attention is pruned by this share of the ratio: 1 FastVAR, 0.75
            the predecessor's newest tree, 0 only cross-attention and feed-forward.
    """

    first_block: int = 3
    last_block: int = 27
    cache_tokens: int = 576
    restore: Literal["cached", "zero", "no_code"] = "cached"
    keep_rounding: Literal["floor_kept", "floor_pruned"] = "floor_kept"
    selection: Literal["fastvar", "entropy", "hybrid", "change"] = "fastvar"
    anchor_block: int = 7
    self_attention_share: float = 1.0

    def __post_init__(self) -> None:
        for name, known in (
            ("restore", ("cached", "zero", "no_code")),
            ("keep_rounding", ("floor_kept", "floor_pruned")),
            ("selection", ("fastvar", "entropy", "hybrid", "change")),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(f"pruning {name} is {getattr(self, name)!r}; expected {known}")
        if not 0.0 <= self.self_attention_share <= 1.0:
            raise ConfigError(
                f"self_attention_share is {self.self_attention_share}; expected 0 (self-attention "
                "is never pruned) to 1 (as much as all else)"
            )
        if self.restore == "no_code" and self.self_attention_share != 1.0:
            raise ConfigError(
                "with restore 'no_code' pruned tokens leave the stage, so self-attention cannot "
                f"keep more of them (self_attention_share {self.self_attention_share}); use 1"
            )
        if self.restore == "no_code" and self.measures_attention:
            raise ConfigError(
                f"selection {self.selection!r} measures the attention of all tokens, and with "
                "restore 'no_code' pruned ones have left; use restore 'cached' or 'zero'"
            )

    @property
    def measures_attention(self) -> bool:
        """Whether the selection looks at how focused each token's attention is."""
        return self.selection in ("entropy", "hybrid")

    def measures_at(self, block: int, tokens: int) -> bool:
        """Whether a block of a stage runs self-attention on all tokens and measures its entropy."""
        anchor = self.measures_attention and block == self.anchor_block
        return anchor and tokens >= self.cache_tokens

    def attended_tokens(self, tokens: int, ratio: float) -> int:
        """How many of `tokens` stay in self-attention at this ratio in [0, 1)."""
        return self.kept_tokens(tokens, ratio * self.self_attention_share) if ratio else tokens

    def kept_tokens(self, tokens: int, ratio: float) -> int:
        """How many of `tokens` stay at this ratio in [0, 1)."""
        if self.keep_rounding == "floor_pruned":
            return tokens - int(tokens * ratio)
        return max(1, int(tokens * (1.0 - ratio)))


@dataclass(frozen=True)
class SamplingConfig:
    """How bits are drawn. One object serves training, evaluation and generation.

    Attributes:
        cfg: guidance strength, one number or one per stage; 1 everywhere means no guidance branch.
        tau: temperature, one number or one per stage; logits are divided by it.
        top_k: 0 or 2 and more do nothing (there are two classes); 1 takes the likelier bit.
        top_p: the less likely bit is dropped where its probability is at most 1 - top_p; 0 is off.
        cfg_insertion_layer: where the branches mix: 0 on the logits, -k after block depth - k; 1 is
            read, since the original reads it, and does nothing.
        noise: `keyed` gives every draw its own (seed, stage, position, bit); `sequential` draws
            all stages from one stream as the original does, for parity with its numbers only.
    """

    cfg: float | tuple[float, ...] = 4.0
    tau: float | tuple[float, ...] = 0.5
    top_k: int = 900
    top_p: float = 0.97
    cfg_insertion_layer: tuple[int, ...] = (0,)
    noise: Literal["keyed", "sequential"] = "keyed"

    def __post_init__(self) -> None:
        for name in ("cfg", "tau"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        object.__setattr__(self, "cfg_insertion_layer", tuple(self.cfg_insertion_layer))
        if self.noise not in ("keyed", "sequential"):
            raise ConfigError(f"noise is {self.noise!r}; expected 'keyed' or 'sequential'")
        if not 0.0 <= self.top_p <= 1.0:
            raise ConfigError(f"top_p is {self.top_p}; expected 0 (off) to 1")
        if self.top_k < 0:
            raise ConfigError(f"top_k is {self.top_k}; expected 0 (off) or more")
        for name, smallest in (("cfg", -math.inf), ("tau", 0.0)):
            value = getattr(self, name)
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(smallest < number < math.inf for number in numbers):
                expected = "numbers" if name == "cfg" else "numbers above 0"
                raise ConfigError(f"{name} is {value}; expected {expected}")

    def per_stage(self, name: Literal["cfg", "tau"], num_stages: int) -> tuple[float, ...]:
        """`cfg` or `tau` as one number per stage.

        Raises:
            ConfigError: a list of another length than the schedule.
        """
        value = getattr(self, name)
        if not isinstance(value, tuple):
            return (float(value),) * num_stages
        if len(value) != num_stages:
            raise ConfigError(f"{name} has {len(value)} entries; the schedule has {num_stages}")
        return value


@dataclass(frozen=True)
class PipelineConfig:
    """Everything in a pipeline folder's `config.json`.

    Attributes:
        schedule: token grids (height, width) of the stages, coarse to fine.
        rope_grid: the grid that RoPE coordinates are scaled to; the last grid of the 1M schedule
            of the same aspect ratio in the official models.
    """

    name: str
    infinity: InfinityConfig
    vae: VAEConfig
    schedule: tuple[tuple[int, int], ...]
    rope_grid: tuple[int, int]
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    pruning: PruningConfig = field(default_factory=PruningConfig)

    def __post_init__(self) -> None:
        grids = tuple((int(height), int(width)) for height, width in self.schedule)
        object.__setattr__(self, "schedule", grids)
        object.__setattr__(self, "rope_grid", (int(self.rope_grid[0]), int(self.rope_grid[1])))
        depth = self.infinity.depth
        wrong = [k for k in self.sampling.cfg_insertion_layer if k > 1 or depth + k <= 0]
        if wrong:
            raise ConfigError(
                f"cfg_insertion_layer has {wrong}; expected 0 (on the logits) or -k: after block "
                f"depth - k, with k from 1 to {depth - 1}"
            )
        if self.pruning.measures_attention and self.pruning.anchor_block >= depth:
            raise ConfigError(
                f"anchor_block {self.pruning.anchor_block} is to measure attention for selection "
                f"{self.pruning.selection!r}, and the model has blocks 0 to {depth - 1}; give it "
                "one of these"
            )
        bits = self.vae.codebook_dim * (4 if self.infinity.apply_spatial_patchify else 1)
        if bits != self.infinity.bits:
            raise ConfigError(
                f"the transformer predicts {self.infinity.bits} bits a token, the VAE gives {bits};"
                " these two files do not belong together"
            )

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dictionary, read back by `from_json`.

        Settings of a selection that is not used are left out, so that they name no new model.
        """
        values = {"format": 1, **asdict(self)}
        for name in ("selection", "anchor_block", "self_attention_share"):
            if getattr(self.pruning, name) == getattr(PruningConfig, name):
                del values["pruning"][name]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "PipelineConfig":
        """Build from `to_json`'s dictionary.

        Raises:
            ConfigError: missing or unknown entries, named.
        """
        parts = {
            "infinity": InfinityConfig,
            "vae": VAEConfig,
            "sampling": SamplingConfig,
            "pruning": PruningConfig,
        }
        values = {name: value for name, value in values.items() if name != "format"}
        try:
            for name, part in parts.items():
                if name in values:
                    values[name] = _build(part, values[name], name)
            return _build(cls, values, "config.json")
        except (TypeError, KeyError) as error:
            raise ConfigError(f"config.json cannot be used: {error}") from None


def _build(part: type, values: dict[str, Any], where: str) -> Any:
    known = {entry.name for entry in fields(part)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"{where} has unknown entries {unknown}; known are {sorted(known)}")
    return part(**values)
