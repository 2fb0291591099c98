"""A small CLIP of the scenes, through open_clip's own classes, trained on training renders only."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from base.files import write_atomic, write_json
from base.torchvision_stub import import_torchvision
from scenes.loop import StepLoss
from scenes.render import SIDE
from scenes.text_encoder import MAX_TOKENS
from scenes.train_vae import draw_batch

MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def clip_config(tokenizer: PreTrainedTokenizerFast, width: int, layers: int) -> dict[str, Any]:
    """open_clip's model configuration: two small transformers of equal size."""
    heads = width // 32
    return {
        "embed_dim": width,
        "vision_cfg": {
            "image_size": SIDE,
            "patch_size": 8,
            "width": width,
            "head_width": 32,
            "layers": layers,
        },
        "text_cfg": {
            "context_length": MAX_TOKENS,
            "vocab_size": len(tokenizer),
            "hf_tokenizer_name": "local",  # any name: open_clip reads the model's own folder
            "tokenizer_kwargs": {"clean_up_tokenization_spaces": False},
            "width": width,
            "heads": heads,
            "layers": layers,
        },
    }


def make_clip(config: dict[str, Any]) -> nn.Module:
    """Build open_clip's `CLIP` from a configuration of `clip_config`."""
    import_torchvision()
    from open_clip.model import CLIP

    return CLIP(config["embed_dim"], vision_cfg=config["vision_cfg"], text_cfg=config["text_cfg"])


def clip_tokens(captions: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """Token ids padded to the full context, as open_clip's tokenizer gives them: [B, 48]."""
    return tokenizer(
        list(captions),
        padding="max_length",
        truncation=True,
        max_length=MAX_TOKENS,
        return_tensors="pt",
    )["input_ids"]


def clip_loss(clip: Any, tokenizer: PreTrainedTokenizerFast, batch: int) -> StepLoss:
    """Contrastive loss both ways within the batch, and the top-1 share of image to caption."""

    def loss_of(step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        scenes, images, _ = draw_batch(batch, rng)
        images = images + 0.1 * torch.randn_like(images) * torch.rand(batch, 1, 1, 1)
        ids = clip_tokens([scene.caption for scene in scenes], tokenizer)
        image_features = F.normalize(clip.encode_image(images), dim=-1)
        text_features = F.normalize(clip.encode_text(ids), dim=-1)
        logits = clip.logit_scale.exp().clamp(max=100.0) * image_features @ text_features.T
        target = torch.arange(batch)
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        return loss, {"top1": float((logits.argmax(1) == target).float().mean())}

    return loss_of


@torch.no_grad()
def retrieval_top1(clip: Any, images: Tensor, ids: Tensor) -> float:
    """Share of images whose own caption scores highest among all given.

    Args:
        clip: an open_clip model.
        images: [N, 3, 64, 64] in [-1, 1].
        ids: [N, 48] token ids of their captions.
    """
    image_features = F.normalize(clip.encode_image(images), dim=-1)
    text_features = F.normalize(clip.encode_text(ids), dim=-1)
    best = (image_features @ text_features.T).argmax(1)
    return float((best == torch.arange(len(images))).float().mean())


def save_clip(
    clip: nn.Module, config: dict[str, Any], tokenizer: PreTrainedTokenizerFast, folder: Path
) -> None:
    """Write a folder that `open_clip.create_model_and_transforms('local-dir:...')` reads."""
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "squash"}
    tokenizer.save_pretrained(folder)
    write_json(
        folder / "open_clip_config.json", {"model_cfg": config, "preprocess_cfg": preprocess}
    )
    weights = {
        name: value.half().contiguous().clone() if value.is_floating_point() else value
        for name, value in clip.state_dict().items()
    }
    write_atomic(folder / "open_clip_model.safetensors", lambda target: save_file(weights, target))
