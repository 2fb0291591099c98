"""CLIP score: the cosine between an image and its prompt, through open_clip, from local files only.

A model is a folder as open_clip's `local-dir:` reads it: `open_clip_config.json` and weights.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import huggingface_hub
import torch
from PIL import Image

from base.torchvision_stub import import_torchvision
from eval.metrics.protocol import MetricUnavailableError

OFFICIAL_REPOSITORY = "timm/vit_base_patch32_clip_224.openai"  # OpenAI's ViT-B/32 for open_clip
_FILES = ("open_clip_config.json", "open_clip_model.safetensors")


class Clip:
    """The plain cosine of CLIP features, in [-1, 1]; not multiplied by 100, not clamped.

    Images go through the model's own preparation (for OpenAI's: the short side to 224 by bicubic,
    the centre cropped, so that long images lose their borders); prompts are cut to its length.
    """

    higher_is_better = True
    needs_reference = False
    needs_prompt = True
    minimum_side = 1

    def __init__(self, folder: str | Path, name: str = "clip", device: str = "cpu") -> None:
        """Load a model.

        Args:
            folder: a local folder of open_clip.
            name: the column's name; models that cannot be compared need different ones.
            device: where it runs.

        Raises:
            MetricUnavailableError: the package or a file is missing or damaged.
        """
        folder = Path(folder)
        try:
            import_torchvision()
            import open_clip

            source = f"local-dir:{folder}"
            model, self._prepare = open_clip.create_model_from_pretrained(source, device=device)
            self._tokenize = open_clip.get_tokenizer(source)
        except ImportError as error:
            raise MetricUnavailableError(f"CLIP needs the package {error.name}") from None
        except Exception as error:  # a damaged file fails in whatever way it likes
            raise MetricUnavailableError(
                f"{folder} is no usable open_clip model: {type(error).__name__}: {error}"
            ) from None
        self._model = model.eval()
        self._device = device
        self.name = name
        self.provenance = f"open_clip model {folder.name} (weights {_hash(model)}), plain cosine"

    @torch.inference_mode()
    def __call__(
        self, images: torch.Tensor, references: torch.Tensor | None, prompts: Sequence[str]
    ) -> torch.Tensor:
        """[B] float32: how well each uint8 image [B, H, W, 3] fits its prompt."""
        tokens = self._tokenize(list(prompts)).to(self._device)
        text_features = self._model.encode_text(tokens, normalize=True)
        return (self._image_features(images) * text_features).sum(dim=1)

    def _image_features(self, images: torch.Tensor) -> torch.Tensor:
        prepared = [self._prepare(Image.fromarray(image)) for image in images.cpu().numpy()]
        return self._model.encode_image(torch.stack(prepared).to(self._device), normalize=True)


class ClipImage(Clip):
    """The plain cosine between the CLIP features of an image and of its reference, in [-1, 1]."""

    needs_reference = True
    needs_prompt = False

    @torch.inference_mode()
    def __call__(
        self, images: torch.Tensor, references: torch.Tensor | None, prompts: Sequence[str]
    ) -> torch.Tensor:
        """[B] float32: how alike CLIP finds each image and its reference, uint8 [B, H, W, 3]."""
        assert references is not None
        return (self._image_features(images) * self._image_features(references)).sum(dim=1)


def official_folder() -> Path | None:
    """The folder of OpenAI's ViT-B/32 in the local cache of the hub, if it was downloaded once."""
    found = [huggingface_hub.try_to_load_from_cache(OFFICIAL_REPOSITORY, file) for file in _FILES]
    paths = [Path(path) for path in found if isinstance(path, str)]
    return paths[0].parent if len(paths) == len(_FILES) else None


def _hash(model: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
