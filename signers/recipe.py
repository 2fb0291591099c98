"""The recipe of the drawn signers: clips, their keypoints, and a small PoseFormer trained on them.

Each part goes on where it stopped; what is done is read back.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from scenes.loop import LoopConfig, run_parts, train
from sign_backend.checkpoint import SignModel
from sign_backend.clip import Keypoints
from sign_backend.config import SignConfig
from sign_backend.embed import embed, pad, prepare
from sign_backend.poseformer import PoseFormer
from signers.augment import augment
from signers.clips import Split
from signers.drawing import HEIGHT, WIDTH
from signers.extract import extract
from signers.gestures import GESTURES
from signers.keypoints import DATA, load_recordings

logger = logging.getLogger(__name__)
PARTS = ("clips", "poseformer")


@dataclass(frozen=True)
class SignerRecipeConfig:
    """The clips, the model and its training.

    Attributes:
        run_dir: restart file and log, and one file a clip.
        data_dir: keypoints of the clips, one file a split.
        out_dir: the folder of the finished model.
        clips: how many of each split; the model learns from `generator`.
        width, heads, layers: of the PoseFormer.
        dropout: of its frame embedding.
        label_smoothing: of the cross entropy.
        loop: length, batch and learning rate.
    """

    run_dir: str = "runs/signers"
    data_dir: str = str(DATA)
    out_dir: str = "sign_backend/pretrained/signers"
    clips: dict[Split, int] = field(
        default_factory=lambda: {"generator": 900, "train": 600, "validation": 60, "test": 200}
    )
    width: int = 64
    heads: int = 4
    layers: int = 2
    dropout: float = 0.2
    label_smoothing: float = 0.1
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(2400, 16, 1.5e-3, warmup=50))

    def model(self) -> SignConfig:
        """The settings of the PoseFormer."""
        return SignConfig(
            "PoseFormer",
            self.layers,
            self.heads,
            self.width,
            (len(GESTURES),),
            pf_dropout=self.dropout,
            source_aspect_ratio=(HEIGHT / WIDTH,),
            seed=self.loop.seed,
        )


class SignerRecipe:
    """Follows a `SignerRecipeConfig`."""

    def __init__(self, config: SignerRecipeConfig):
        self.config = config
        self.run_dir, self.data_dir = Path(config.run_dir), Path(config.data_dir)

    def run(self, parts: Sequence[str]) -> None:
        """Do these of `PARTS`, in their order.

        Raises:
            ConfigError: a part that there is not.
            ResourceError: `clips` without MediaPipe (`make setup-sign`).
        """
        run_parts(self._run_part, parts, PARTS)

    def _run_part(self, part: str) -> None:
        if part == "clips":
            extract(self.config.clips, self.run_dir / "clips", self.data_dir)
            load_recordings.cache_clear()
        else:
            self.trained()

    def trained(self) -> PoseFormer:
        """The PoseFormer, frozen; trained as far as that has not been done."""
        config = self.config
        torch.manual_seed(config.loop.seed)
        model = initialised(PoseFormer(config.model())).train()
        clips = load_recordings("generator", self.data_dir)
        criterion = nn.CrossEntropyLoss(label_smoothing=config.label_smoothing)

        def loss_of(step: int, lot: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
            chosen = [clips[number] for number in lot.integers(len(clips), size=config.loop.batch)]
            moved = [Keypoints(augment(c.keypoints.points, lot), HEIGHT, WIDTH) for c in chosen]
            inputs = [prepare(keypoints, model.config) for keypoints in moved]
            scores = model(pad(inputs), None, torch.tensor([len(each) for each in inputs]))
            labels = torch.tensor([clip.gesture for clip in chosen])
            right = (scores.argmax(1) == labels).float().mean().item()
            return criterion(scores, labels), {"right": right}

        self.run_dir.mkdir(parents=True, exist_ok=True)
        train("poseformer", {"model": model}, loss_of, config.loop, self.run_dir)
        return model.eval().requires_grad_(False)


def recognition(model: SignModel, split: Split, folder: Path = DATA) -> float:
    """The share of clips whose gesture gets the highest score."""
    clips = load_recordings(split, folder)
    scores = embed(model, [prepare(clip.keypoints, model.config) for clip in clips], "logits")
    right = [int(row.argmax()) == clip.gesture for row, clip in zip(scores, clips, strict=True)]
    return float(np.mean(right))


def initialised(model: PoseFormer) -> PoseFormer:
    """Weights as SignON's training starts from: N(0, 0.02), biases 0."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return model
