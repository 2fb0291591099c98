"""PTN, the Pose Transformer Network: the models before PoseFormer, of two generations.

Time comes first: [T, B, .]. The current generation takes keypoints and normalises them inside;
v0.3 takes features that were prepared outside. Names of submodules are those of the checkpoints.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sign_backend.config import SignConfig
from sign_backend.hooks import InferenceHooks
from sign_backend.normalise import normalise, to_features, without_nan
from sign_backend.poseformer import frame_layers
from sign_backend.positions import ROWS_IN_FILES, PositionTable

_JOINTS = 67


class PTN(InferenceHooks, nn.Module):
    """Frame embedding, positions, and a post-norm transformer encoder with a summary row."""

    batch_first = False  # of what hooks see: [T, B, D], and [1 + T, B, D] of the encoder

    def __init__(self, config: SignConfig):
        super().__init__()
        self.config = config
        self._handles: dict[str, RemovableHandle] = {}
        width = config.d_hidden
        self.pose_embedding = make_pose_embedding(config)
        self.pos_enc = PositionTable(width, (ROWS_IN_FILES, 1, width))
        self.cls_emb = nn.Embedding(1, width)
        layer = nn.TransformerEncoderLayer(width, config.num_attention_heads, 2 * width)
        self.self_attention = nn.TransformerEncoder(
            layer, config.num_attention_layers, nn.LayerNorm(width), enable_nested_tensor=False
        )
        seen = width
        if config.uses_language:
            self.language_embedding = nn.Embedding(config.num_languages, config.lang_embedding_size)
            seen += config.lang_embedding_size
        self.classifier = nn.Linear(seen, sum(config.num_classes))

    def hook_site(self, kind: str) -> nn.Module:
        return self.pose_embedding if kind == "spatial" else self.self_attention

    def forward(
        self, inputs: Tensor, language_ids: Tensor | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """Score the glosses.

        Args:
            inputs: [T, B, 75, 3] keypoints, or of v0.3 [T, B, F] features; zeros after the end.
            language_ids: [B], which training language each clip is; None is the first.
            lengths: [B] frames of each clip; the current generation sees them by itself.

        Returns:
            [B, C] raw scores.
        """
        if self.config.takes_features:
            features, ignored = inputs, self._beyond(inputs, lengths)
        else:
            features = to_features(normalise(inputs))  # [T, B, F]
            features, ignored = without_nan(features), _with_nothing(features)
        x = self.pose_embedding(features)  # [T, B, D]
        x = x + self.pos_enc.rows(len(x))[:, None]
        summary = self.cls_emb.weight.expand(1, x.shape[1], -1)
        if ignored is not None:
            ignored = F.pad(ignored, (1, 0))  # [B, 1 + T]; the summary never is
        x = self.self_attention(torch.cat([summary, x]), src_key_padding_mask=ignored)
        summary = x[0]
        if self.config.uses_language:
            if language_ids is None:
                language_ids = torch.zeros(len(summary), dtype=torch.long)
            language = self.language_embedding(language_ids.to(summary.device))
            summary = torch.cat([summary, language], dim=1)
        return self.classifier(summary)

    def _beyond(self, features: Tensor, lengths: Tensor | None) -> Tensor | None:
        """[B, T], True after the end of a clip; None where the model was trained without."""
        if lengths is None or not self.config.variable_length_sequences:
            return None
        frames = torch.arange(len(features), device=features.device)
        return frames >= lengths.to(features.device)[:, None]


def _with_nothing(features: Tensor) -> Tensor:
    """[B, T], True for frames of [T, B, F] in which nothing is a number."""
    return features.isnan().all(dim=2).T


def make_pose_embedding(config: SignConfig) -> nn.Module:
    """What turns a frame's features into D values: [T, B, F] to [T, B, D]."""
    if config.no_pose_embedding:
        return nn.Linear(config.d_pose, config.d_hidden, bias=False)
    if config.pose_embedding_kind != "dense":
        return JointAttention()
    return DenseEmbedding(config.d_pose, config.d_hidden, config.residual_pose_embedding)


class DenseEmbedding(nn.Module):
    """Four layers, beside them a linear way if asked for, and a bound of one."""

    def __init__(self, features: int, width: int, residual: bool):
        super().__init__()
        self.embedding = frame_layers(features, width, nn.ReLU(), dropout=0.2)
        self.resid = nn.Linear(features, width) if residual else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.embedding(x)
        return torch.tanh(y if self.resid is None else y + self.resid(x))


class JointAttention(nn.Module):
    """v0.3: the joints of a frame look at each other before they become its 128 values."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(3, 8)
        layer = nn.TransformerEncoderLayer(d_model=8, nhead=2, dim_feedforward=16)
        self.attention = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
        self.output_layer = nn.Linear(8 * _JOINTS, 128)

    def forward(self, x: Tensor) -> Tensor:
        time, clips, _ = x.shape
        joints = x.reshape(time * clips, _JOINTS, 3).transpose(0, 1)  # [67, T * B, 3]
        mixed = self.attention(self.embedding(joints)).transpose(0, 1)  # [T * B, 67, 8]
        return torch.tanh(self.output_layer(mixed.reshape(time, clips, -1)))
