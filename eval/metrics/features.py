"""Distances of learned features: DINOv3 through timm, DreamSim through its package.

Both need weights that lie on this machine; nothing is downloaded.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from PIL import Image

from base.cache_folder import cache_folder
from base.torchvision_stub import import_torchvision
from eval.metrics.protocol import MetricUnavailableError

DINO_MODEL = "vit_small_plus_patch16_dinov3.lvd1689m"


class Dino:
    """The cosine of the class tokens of DINOv3 (ViT-S+/16) of an image and its reference."""

    name = "dino"
    higher_is_better = True
    needs_reference = True
    needs_prompt = False
    minimum_side = 1

    def __init__(self, device: str = "cpu") -> None:
        """Load the model, or raise a `MetricUnavailableError` that says what is missing."""
        weights = huggingface_hub.try_to_load_from_cache(f"timm/{DINO_MODEL}", "model.safetensors")
        if not isinstance(weights, str):
            raise MetricUnavailableError(f"no DINO weights: timm/{DINO_MODEL} is not in the cache")
        try:
            import_torchvision()
            import timm
        except ImportError as error:
            raise MetricUnavailableError(f"DINO needs the package {error.name}") from None
        model = timm.create_model(
            DINO_MODEL,
            pretrained=True,
            pretrained_cfg_overlay={"file": weights},
            num_classes=0,
            global_pool="token",
        )
        self._model = model.eval().to(device)
        self._prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
        self._device = device
        self.provenance = f"cosine of class tokens, timm model {DINO_MODEL}, its own preparation"

    @torch.inference_mode()
    def __call__(
        self, images: torch.Tensor, references: torch.Tensor | None, prompts: Sequence[str]
    ) -> torch.Tensor:
        """[B] float32, in [-1, 1], of uint8 [B, H, W, 3]."""
        assert references is not None
        features = [self._model(self._prepared(batch)) for batch in (images, references)]
        return torch.cosine_similarity(*features)

    def _prepared(self, images: torch.Tensor) -> torch.Tensor:
        pictures = [self._prepare(Image.fromarray(image)) for image in images.cpu().numpy()]
        return torch.stack(pictures).to(self._device)


class DreamSim:
    """DreamSim (Fu et al. 2023), the distance of its ensemble: 0 for equal images."""

    name = "dreamsim"
    higher_is_better = False
    needs_reference = True
    needs_prompt = False
    minimum_side = 1
    provenance = "package dreamsim, its ensemble and its own preparation"

    def __init__(self, device: str = "cpu", folder: Path | None = None) -> None:
        """Load the model.

        Args:
            device: where it runs.
            folder: what the package downloaded; None is `dreamsim` in the project's cache.

        Raises:
            MetricUnavailableError: the package or its weights are missing.
        """
        folder = folder or cache_folder() / "dreamsim"
        try:
            import_torchvision()
            from dreamsim import dreamsim
        except ImportError as error:
            raise MetricUnavailableError(
                f"DreamSim needs the package {error.name}: pip install dreamsim"
            ) from None
        if not folder.is_dir():
            raise MetricUnavailableError(f"no DreamSim weights: there is no folder {folder}")
        model: Any
        model, self._prepare = dreamsim(pretrained=True, device=device, cache_dir=str(folder))
        self._model, self._device = model.eval(), device

    @torch.inference_mode()
    def __call__(
        self, images: torch.Tensor, references: torch.Tensor | None, prompts: Sequence[str]
    ) -> torch.Tensor:
        """[B] float32, from 0 up, of uint8 [B, H, W, 3]."""
        assert references is not None
        return self._model(self._prepared(images), self._prepared(references))

    def _prepared(self, images: torch.Tensor) -> torch.Tensor:
        pictures = [self._prepare(Image.fromarray(image)) for image in images.cpu().numpy()]
        return torch.cat(pictures).to(self._device)  # the package's preparation adds the batch
