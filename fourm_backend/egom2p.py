"""EgoM2P's tasks, and chains of them, on video codes.

Shapes: video codes [5, h, w], motion codes [30].
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from base.errors import ConfigError, DataError
from fourm_backend.chain import Chain
from fourm_backend.model import FourM
from fourm_backend.samples import full_input
from fourm_backend.task import Task

STEPS = {"tok_depth": 3, "tok_cam": 3, "tok_gaze": 5, "tok_rgb": 6}  # as published, by target


def chain_task(given: str, targets: Sequence[str]) -> Task:
    """From one modality to others, one after the other, with the published settings.

    Raises:
        ConfigError: a target that EgoM2P does not make.
    """
    unknown = [name for name in targets if name not in STEPS]
    if unknown or not targets:
        raise ConfigError(f"targets {list(targets)}; expected some of {sorted(STEPS)}")
    return Task.from_values(
        {
            "cond_domains": given,
            "target_domains": list(targets),
            "autoregression_schemes": "roar",
            "decoding_steps": [STEPS[name] for name in targets],
            "token_decoding_schedules": "linear",
            "temps": 0.01,
            "temp_schedules": "constant",
            "cfg_scales": 2.0,
            "top_p": 0.8,
        }
    )


TASKS = {
    "rgb2depth": chain_task("tok_rgb", ["tok_depth"]),
    "rgb2cam": chain_task("tok_rgb", ["tok_cam"]),
    "rgb2gaze": chain_task("tok_rgb", ["tok_gaze"]),
    "depth2rgb": chain_task("tok_depth", ["tok_rgb"]),
}


def predict(model: FourM, task: Task, codes: np.ndarray, seed: int = 0) -> Mapping[str, np.ndarray]:
    """Make the targets of a task.

    Args:
        model: EgoM2P.
        task: one of `TASKS`, or from `chain_task`.
        codes: the given video, in the model's grid.
        seed: of all noise.

    Returns:
        Codes of each target, in its grid.

    Raises:
        DataError: codes that are not of this model.
    """
    (given,) = task.cond_domains
    modality = model.config.inputs[given]
    wrong = codes.size != modality.num_positions or codes.dtype.kind not in "iu"
    if wrong or codes.min() < 0 or codes.max() >= modality.vocab_size:
        raise DataError(
            f"{given} is {codes.dtype} {codes.shape}; expected whole numbers from 0 to "
            f"{modality.vocab_size - 1} in a grid of {modality.grid}"
        )
    device = model.mask_token.device
    ids = torch.from_numpy(codes.reshape(1, -1).astype(np.int64)).to(device)
    made = Chain(model, task).run({given: full_input(modality, {"tensor": ids})}, [seed])
    grids = {name: model.config.outputs[name].grid for name in task.target_domains}
    return {name: made[name]["tensor"][0].reshape(g).cpu().numpy() for name, g in grids.items()}
