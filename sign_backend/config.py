"""What a checkpoint says about its model and its data: the part that inference needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from base.errors import CheckpointError, ConfigError

Generation = Literal["current", "v0.3"]
MODELS = ("PoseFormer", "PTN")
FEATURES_2D, FEATURES_3D = 134, 201  # 67 joints


@dataclass(frozen=True)
class SignConfig:
    """Settings of one model; names are those of the checkpoints' hyper-parameters.

    Attributes:
        model_name: `PoseFormer` or `PTN`.
        num_attention_layers: of the transformer over frames.
        num_attention_heads: of each of them.
        d_hidden: width D.
        num_classes: glosses of each training language; more than one language share one head.
        generation: `v0.3` for the older PTN, which takes features prepared outside the model.
        d_pose: features a frame, F.
        pf_dropout: share of activations dropped in training.
        multilingual_conditioned: PoseFormer: the head also sees which language it is.
        lang_embedding_size: width of that.
        l1_label_norm: the scores are normalised over the classes.
        residual_pose_embedding: PTN: a linear way around the frame embedding.
        no_pose_embedding: PTN: one bias-free linear layer instead of the frame embedding.
        pose_embedding_kind: PTN: `dense`, or (v0.3) `attn`, attention over the joints.
        variable_length_sequences: PTN v0.3: frames beyond a clip's length are masked.
        mediapipe_2d: v0.3: z is left out.
        data_kind: which keypoints it was trained on.
        source_aspect_ratio: height over width of the training videos, one per language.
        seed: of the training.
        sharpen_sigma: frames are sharpened before keypoints are looked for: 0 by a 3x3 kernel,
            more by unsharp masking with this width; None: not at all.
    """

    model_name: str
    num_attention_layers: int
    num_attention_heads: int
    d_hidden: int
    num_classes: tuple[int, ...]
    generation: Generation = "current"
    d_pose: int = FEATURES_2D
    pf_dropout: float = 0.2
    multilingual_conditioned: bool = False
    lang_embedding_size: int = 4
    l1_label_norm: bool = False
    residual_pose_embedding: bool = False
    no_pose_embedding: bool = False
    pose_embedding_kind: str = "dense"
    variable_length_sequences: bool = True
    mediapipe_2d: bool = False
    data_kind: str = "Mediapipe"
    source_aspect_ratio: tuple[float, ...] = ()
    seed: int = 42
    sharpen_sigma: float | None = None

    def __post_init__(self) -> None:
        if self.model_name not in MODELS:
            raise ConfigError(
                f"model_name is {self.model_name!r}; expected {' or '.join(MODELS)}. VTN, which "
                "looks at pixels, has no working inference in the original either"
            )
        if not self.data_kind.startswith("Mediapipe"):
            raise ConfigError(
                f"data_kind is {self.data_kind!r}; only models on Mediapipe keypoints are known"
            )
        sizes = {
            "num_attention_layers": self.num_attention_layers,
            "num_attention_heads": self.num_attention_heads,
            "d_hidden": self.d_hidden,
            "d_pose": self.d_pose,
            "lang_embedding_size": self.lang_embedding_size,
            **{f"num_classes[{index}]": count for index, count in enumerate(self.num_classes)},
        }
        wrong = {name: size for name, size in sizes.items() if type(size) is not int or size < 1}
        if wrong or not self.num_classes:
            raise ConfigError(f"sizes must be whole numbers from 1: {wrong or 'no num_classes'}")
        if self.d_hidden % self.num_attention_heads:
            raise ConfigError(
                f"d_hidden {self.d_hidden} is not a multiple of num_attention_heads "
                f"{self.num_attention_heads}"
            )
        features = FEATURES_3D if self.takes_features and not self.mediapipe_2d else FEATURES_2D
        if self.d_pose != features:
            raise ConfigError(
                f"d_pose is {self.d_pose}; keypoints of this kind have {features} values a frame"
            )
        joint_attention = self.pose_embedding_kind != "dense" and not self.no_pose_embedding
        if joint_attention and (self.d_pose, self.d_hidden) != (FEATURES_3D, 128):
            raise ConfigError(
                f"pose_embedding_kind {self.pose_embedding_kind!r} needs d_pose {FEATURES_3D} "
                f"and d_hidden 128; got {self.d_pose} and {self.d_hidden}"
            )
        if self.l1_label_norm and self.num_languages > 1:
            raise ConfigError("l1_label_norm works with one language only")

    @property
    def num_languages(self) -> int:
        """Training languages."""
        return len(self.num_classes)

    @property
    def takes_features(self) -> bool:
        """Whether the model's input is prepared outside of it, [T, B, F]; else [T, B, 75, 3]."""
        return self.generation == "v0.3"

    @property
    def uses_language(self) -> bool:
        """Whether scores depend on the language that is asked for."""
        if self.model_name == "PoseFormer":
            return self.multilingual_conditioned
        return self.num_languages > 1

    @classmethod
    def from_hyper_parameters(cls, values: Mapping[str, Any]) -> "SignConfig":
        """Pick what inference needs from the `hyper_parameters` of a Lightning checkpoint.

        Raises:
            CheckpointError: a setting without a default is missing, or one cannot be used.
        """
        required = (
            "model_name",
            "num_attention_layers",
            "num_attention_heads",
            "d_hidden",
            "num_classes",
        )
        missing = [name for name in required if values.get(name) is None]
        if missing:
            raise CheckpointError(
                f"hyper_parameters lack {', '.join(missing)}; expected a checkpoint of the SignON "
                "training script"
            )
        current = values["model_name"] != "PTN" or values.get("source_aspect_ratio") is not None
        known = {
            name: values[name]
            for name in cls.__dataclass_fields__
            if values.get(name) is not None and name not in ("generation", "sharpen_sigma")
        }
        known["num_classes"] = _as_tuple(values["num_classes"])
        known["source_aspect_ratio"] = _as_tuple(values.get("source_aspect_ratio"))
        if values.get("sharpen"):
            known["sharpen_sigma"] = float(values.get("sharpen_sigma") or 0.0)
        if not current and "d_pose" not in known:
            known["d_pose"] = FEATURES_2D if known.get("mediapipe_2d") else FEATURES_3D
        try:
            return cls(generation="current" if current else "v0.3", **known)
        except (ConfigError, TypeError, AttributeError) as error:
            raise CheckpointError(f"hyper_parameters cannot be used: {error}") from None


def _as_tuple(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)
