"""Two small models that were never trained: everything runs on them in milliseconds.

They are for trying out environments and controllers, and say nothing about real models.
"""

from collections.abc import Callable
from functools import partial

import torch

from base.errors import DataError
from fourm_backend.config import Architecture, ModelConfig
from fourm_backend.generator import FourMGenerator
from fourm_backend.modalities import Modality
from fourm_backend.model import FourM
from fourm_backend.prompts import Inputs
from fourm_backend.samples import END, full_input
from fourm_backend.task import Task

CAPTION = Modality("caption", "seq", "sequence", 260, max_length=12, max_tokens=12)
CLIP = Modality("tok_clip@16", "img", "image_tokens", 24, (16, 16), 4)
RGB = Modality("tok_rgb@16", "img", "image_tokens", 32, (16, 16), 4)
VIDEO = Modality("tok_rgb", "img", "video_tokens", 20, (16, 16), 8)
GAZE = Modality("tok_gaze", "gaze", "motion_tokens", 12, max_length=30, max_tokens=30)

_FOURM_TASK = {
    "cond_domains": "caption",
    "target_domains": "tok_clip@16-tok_rgb@16",
    "autoregression_schemes": "roar-maskgit",
    "decoding_steps": "4-3",
    "temps": "1.5-1.0",
    "temp_schedules": "constant",
    "cfg_scales": "2.0-1.5",
    "top_p": 0.9,
}
_EGOM2P_TASK = {
    "cond_domains": "tok_rgb",
    "target_domains": "tok_gaze",
    "autoregression_schemes": "roar",
    "decoding_steps": 5,
    "temps": 0.5,
    "temp_schedules": "constant",
    "cfg_scales": 2.0,
    "top_p": 0.8,
}


def random_model(*modalities: Modality, **architecture: object) -> FourM:
    """A small model with random weights; embeddings are strong, so that inputs matter."""
    settings = Architecture(
        **{"dim": 24, "encoder_depth": 2, "decoder_depth": 2, "num_heads": 3, **architecture}  # type: ignore[arg-type]
    )
    inputs = {entry.name: entry for entry in modalities}
    outputs = {name: entry for name, entry in inputs.items() if entry.decodable}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = FourM(ModelConfig(settings, inputs, outputs))
        for name, parameter in model.named_parameters():
            if "emb" in name or "to_logits" in name or "mask_token" in name:
                torch.nn.init.normal_(parameter, std=0.2 if "to_logits" in name else 1.0)
    return model.eval().requires_grad_(False)


def toy_fourm(device: str = "cpu") -> FourMGenerator:
    """A caption to CLIP tokens to RGB tokens, in 4 + 3 steps."""
    return _toy((CAPTION, CLIP, RGB), _FOURM_TASK, _caption, device)


def toy_egom2p(device: str = "cpu") -> FourMGenerator:
    """Video tokens to gaze, in 5 steps."""
    return _toy((VIDEO, GAZE), _EGOM2P_TASK, _video, device, share_embedding=True)


def _toy(
    modalities: tuple[Modality, ...],
    task: dict[str, object],
    make: Callable[[int], Inputs],
    device: str,
    **architecture: object,
) -> FourMGenerator:
    model = random_model(*modalities, **architecture).to(device)
    return FourMGenerator(model, Task.from_values(task), partial(_read_toy, make=make))


def _read_toy(prompt: str, make: Callable[[int], Inputs]) -> Inputs:
    word, _, number = prompt.partition(" ")
    if word != "toy" or not (number.isascii() and number.isdigit()):
        raise DataError(f"prompt {prompt!r}; the toy takes 'toy NUMBER'")
    return make(int(number))


def _caption(number: int) -> Inputs:
    """2 to 9 words."""
    stream = torch.Generator().manual_seed(number)
    words = torch.randint(204, 260, (1, 2 + number % 8), generator=stream)
    ids = torch.cat([words, torch.full((1, 1), END)], dim=1)
    return {"caption": full_input(CAPTION, {"tensor": ids})}


def _video(number: int) -> Inputs:
    stream = torch.Generator().manual_seed(number)
    return {"tok_rgb": full_input(VIDEO, {"tensor": torch.randint(20, (1, 20), generator=stream)})}
