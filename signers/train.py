"""Train the small PoseFormer of the synthetic signers and write its folder.

`python -m signers.train --config configs/sign/poseformer.yaml`; it goes on where it stopped.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli
from torch import Tensor, nn

from base.files import write_json
from scenes.loop import LoopConfig, train
from sign_backend.clip import Keypoints
from sign_backend.config import SignConfig
from sign_backend.embed import embed, pad, prepare
from sign_backend.poseformer import PoseFormer
from sign_backend.pretrained import save_folder
from signers.augment import augment
from signers.clips import SPLITS, Split
from signers.drawing import HEIGHT, WIDTH
from signers.gestures import GESTURES
from signers.keypoints import load_recordings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SignerRecipe:
    """The model and its training.

    Attributes:
        run_dir: restart file and log.
        out_dir: the folder of the finished model.
        width, heads, layers: of the PoseFormer.
        dropout: of its frame embedding.
        label_smoothing: of the cross entropy.
        loop: length, batch and learning rate.
    """

    run_dir: str = "runs/poseformer"
    out_dir: str = "sign_backend/pretrained/signers"
    width: int = 64
    heads: int = 4
    layers: int = 2
    dropout: float = 0.2
    label_smoothing: float = 0.1
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(900, 16, 1.5e-3, warmup=50))

    @property
    def config(self) -> SignConfig:
        """Of the model."""
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


def run(recipe: SignerRecipe) -> dict[str, float]:
    """Train, write the folder, and return the share of recognised gestures of each split."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(recipe.loop.seed)
    model = initialised(PoseFormer(recipe.config)).train()
    clips = load_recordings("train")
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)

    def loss_of(step: int, lot: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        chosen = [clips[number] for number in lot.integers(len(clips), size=recipe.loop.batch)]
        inputs = [_input(augment(clip.keypoints.points, lot), recipe.config) for clip in chosen]
        scores = model(pad(inputs), None, torch.tensor([len(each) for each in inputs]))
        labels = torch.tensor([clip.gesture for clip in chosen])
        right = (scores.argmax(1) == labels).float().mean().item()
        return criterion(scores, labels), {"right": right}

    Path(recipe.run_dir).mkdir(parents=True, exist_ok=True)
    train("poseformer", {"model": model}, loss_of, recipe.loop, Path(recipe.run_dir))
    model.eval().requires_grad_(False)
    recognised: dict[str, float] = {split: recognition(model, split) for split in SPLITS}
    save_folder(model, Path(recipe.out_dir), GESTURES)
    write_json(Path(recipe.out_dir) / "recipe.json", asdict(recipe) | {"recognised": recognised})
    logger.info("recognised: %s", recognised)
    return recognised


def recognition(model: PoseFormer, split: Split, numbers: Sequence[int] | None = None) -> float:
    """The share of clips whose gesture gets the highest score."""
    clips = load_recordings(split)
    chosen = clips if numbers is None else [clips[number] for number in numbers]
    inputs = [prepare(clip.keypoints, model.config) for clip in chosen]
    scores = embed(model, inputs, "logits")
    right = [int(row.argmax()) == clip.gesture for row, clip in zip(scores, chosen, strict=True)]
    return float(np.mean(right))


def initialised(model: PoseFormer) -> PoseFormer:
    """Weights as SignON's training starts from: N(0, 0.02), biases 0."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return model


def _input(points: np.ndarray, config: SignConfig) -> np.ndarray:
    return prepare(Keypoints(points, HEIGHT, WIDTH), config)


if __name__ == "__main__":
    auto_cli(run)
