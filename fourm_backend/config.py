"""Settings of a model: its architecture, its modalities, and the builds that have a name."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from base.errors import ConfigError
from fourm_backend.modalities import REGISTRY, Modality

ACTIVATIONS = ("SiLU", "GELU")


@dataclass(frozen=True)
class Architecture:
    """The transformer, without its modalities; field names are those of the published files."""

    dim: int = 768
    encoder_depth: int = 12
    decoder_depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    qkv_bias: bool = False
    proj_bias: bool = False
    mlp_bias: bool = False
    norm_bias: bool = False
    act_layer: str = "SiLU"
    gated_mlp: bool = True
    qk_norm: bool = False
    decoder_causal_mask: bool = False
    decoder_sep_mask: bool = True
    num_register_tokens: int = 0
    share_modality_embeddings: bool = True
    share_embedding: bool = False

    def __post_init__(self) -> None:
        if self.dim < 1 or self.num_heads < 1 or self.dim % self.num_heads:
            raise ConfigError(f"dim {self.dim} does not divide into {self.num_heads} heads")
        if self.act_layer not in ACTIVATIONS:
            raise ConfigError(
                f"act_layer is {self.act_layer!r}; expected one of {list(ACTIVATIONS)}"
            )

    @property
    def mlp_hidden(self) -> int:
        """Width inside of a feed-forward layer."""
        hidden = int(self.dim * self.mlp_ratio)
        return 2 * hidden // 3 if self.gated_mlp else hidden


@dataclass(frozen=True)
class ModelConfig:
    """A model: architecture, and modalities by name in the order of the file's lists."""

    architecture: Architecture
    inputs: Mapping[str, Modality]
    outputs: Mapping[str, Modality]

    @property
    def modalities(self) -> dict[str, Modality]:
        """Every modality that the model knows, by name."""
        return {**self.inputs, **self.outputs}

    @classmethod
    def from_file(cls, values: Mapping[str, Any]) -> "tuple[ModelConfig, list[str]]":
        """Read a published configuration.

        Args:
            values: `domains_in`, `domains_out`, `image_size`, `patch_size` and the architecture;
                with `modalities`, an entry of fields for each modality that differs from the
                published one of that name, or has a name of its own.

        Returns:
            The configuration, and the keys that it does not know.

        Raises:
            ConfigError: a missing key, an unknown modality, or values that do not fit together.
        """
        names = {field.name for field in fields(Architecture)}
        known = names | {"domains_in", "domains_out", "image_size", "patch_size", "modalities"}
        for key in ("domains_in", "domains_out", "dim", "num_heads"):
            if key not in values:
                raise ConfigError(f"the model's configuration has no {key!r}")
        architecture = Architecture(**{name: values[name] for name in names & set(values)})
        sizes = int(values.get("image_size", 224)), int(values.get("patch_size", 16))
        own = values.get("modalities", {})
        inputs = {name: _modality(name, own).at(*sizes) for name in values["domains_in"]}
        outputs = {name: _modality(name, own).at(*sizes) for name in values["domains_out"]}
        outputs = {name: entry for name, entry in outputs.items() if entry.decodable}
        return cls(architecture, inputs, outputs), sorted(set(values) - known)

    def to_file(self) -> dict[str, Any]:
        """The settings of a model as `from_file` reads them, with all modalities spelled out."""
        return {
            **asdict(self.architecture),
            "domains_in": list(self.inputs),
            "domains_out": list(self.outputs),
            "modalities": {name: asdict(entry) for name, entry in self.modalities.items()},
        }


def _modality(name: str, own: Mapping[str, Any]) -> Modality:
    if name not in own and name not in REGISTRY:
        raise ConfigError(f"modality {name!r} is unknown; known are {sorted(REGISTRY)}")
    if name not in own:
        return REGISTRY[name]
    values = {**asdict(REGISTRY[name]), **own[name]} if name in REGISTRY else {**own[name]}
    unknown = sorted(set(values) - {field.name for field in fields(Modality)})
    if unknown:
        raise ConfigError(f"modalities: {name!r} has unknown fields {unknown}")
    if values.get("image_size") is not None:
        values["image_size"] = tuple(values["image_size"])
    return Modality(**{**values, "name": name})


SIZES = {  # dim, depth of encoder and decoder, heads
    "tiny": (384, 6, 6),
    "small": (512, 8, 8),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "xlarge": (2048, 24, 32),
}
STYLES = {
    "gelu": Architecture(
        qkv_bias=True,
        proj_bias=True,
        mlp_bias=True,
        norm_bias=True,
        act_layer="GELU",
        gated_mlp=False,
    ),
    "swiglu_nobias": Architecture(),
    "swiglu_qknorm_nobias": Architecture(qk_norm=True),
}
VIDEO_SIZES = {"large": (1020, 24, 15), "xlarge": (2046, 24, 31)}  # a 3D table needs dim % 6 == 0


def build(size: str, style: str = "swiglu_nobias", video: bool = False) -> Architecture:
    """One of the registered builds.

    Args:
        size: `tiny`, `small`, `base`, `large` or `xlarge`.
        style: `gelu` (biases everywhere), `swiglu_nobias` (all released models) or
            `swiglu_qknorm_nobias` (base and larger).
        video: EgoM2P's widths, and heads tied to the decoder's token tables.

    Raises:
        ConfigError: no such build.
    """
    small = style == "swiglu_qknorm_nobias" and size in ("tiny", "small")
    if size not in SIZES or style not in STYLES or small:
        raise ConfigError(
            f"there is no build of size {size!r} and style {style!r}; sizes are {list(SIZES)}, "
            f"styles {list(STYLES)} (the last one from base on)"
        )
    swiglu = style == "swiglu_nobias"
    dim, depth, heads = VIDEO_SIZES.get(size, SIZES[size]) if video and swiglu else SIZES[size]
    return replace(
        STYLES[style],
        dim=dim,
        encoder_depth=depth,
        decoder_depth=depth,
        num_heads=heads,
        share_embedding=video,
    )
