"""EgoM2P's four tasks on files of video codes, and how good their results are.

Shapes: T = 60 motion steps, video codes [5, h, w].
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from base.errors import DataError
from fourm_backend.generate import empty_targets, generate
from fourm_backend.model import FourM
from fourm_backend.motion import MotionTokenizer, camera_output, gaze_output
from fourm_backend.samples import full_input
from fourm_backend.sampling import SiteNoise
from fourm_backend.task import Task

CODE_FILES = (".npz", ".npy")


def _task(given: str, made: str, steps: int) -> Task:
    return Task.from_values(
        {
            "cond_domains": given,
            "target_domains": made,
            "autoregression_schemes": "roar",
            "decoding_steps": steps,
            "token_decoding_schedules": "linear",
            "temps": 0.01,
            "temp_schedules": "constant",
            "cfg_scales": 2.0,
            "top_p": 0.8,
        }
    )


TASKS = {
    "rgb2depth": _task("tok_rgb", "tok_depth", 3),
    "rgb2cam": _task("tok_rgb", "tok_cam", 3),
    "rgb2gaze": _task("tok_rgb", "tok_gaze", 5),
    "depth2rgb": _task("tok_depth", "tok_rgb", 6),
}


@dataclass(frozen=True)
class Prediction:
    """What was made of one video.

    Attributes:
        tokens: in the grid of the target.
        motion: [T, 2] gaze in 0 to 1 of the picture, or [T, 9] rotation columns and place of the
            camera seen from the first step; None without a tokenizer.
    """

    tokens: np.ndarray
    motion: np.ndarray | None


def read_array(path: Path) -> np.ndarray:
    """One array from `.npy`, or the first one of an `.npz`.

    Raises:
        DataError: a file that cannot be read.
    """
    if path.suffix not in CODE_FILES:
        raise DataError(
            f"{path}: expected .npz or .npy with codes of the video tokenizer, [5, 32, 32]. "
            "Encode videos with the Cosmos tokenizer first; it is not part of this package"
        )
    try:
        loaded = np.load(path, allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else loaded[loaded.files[0]]
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def predict(
    model: FourM,
    task: Task,
    codes: np.ndarray,
    seed: int = 0,
    tokenizer: MotionTokenizer | None = None,
) -> Prediction:
    """Make the target of a task.

    Args:
        model: EgoM2P.
        task: one of `TASKS`.
        codes: the given video, in the model's grid.
        seed: of all noise.
        tokenizer: turns motion tokens into motion.

    Raises:
        DataError: codes that are not of this model.
    """
    (given,), (made,) = task.cond_domains, task.target_domains
    modality, target = model.config.inputs[given], model.config.outputs[made]
    wrong = codes.size != modality.num_positions or codes.dtype.kind not in "iu"
    if wrong or codes.min() < 0 or codes.max() >= modality.vocab_size:
        raise DataError(
            f"{given} is {codes.dtype} {codes.shape}; expected whole numbers from 0 to "
            f"{modality.vocab_size - 1} in a grid of {modality.grid}"
        )
    device = model.mask_token.device
    ids = torch.from_numpy(codes.reshape(1, -1).astype(np.int64)).to(device)
    schedule = task.schedule(model.config.outputs)
    sample = empty_targets(model, {given: full_input(modality, {"tensor": ids})}, schedule)
    filters = task.top_k, task.top_p
    result = generate(model, sample, schedule, *filters, noise=SiteNoise([seed]))[made]["tensor"]
    motion = None
    if tokenizer is not None:
        with torch.no_grad():
            steps = tokenizer.decode(result.cpu())[0]
        motion = (gaze_output(steps) if made == "tok_gaze" else camera_output(steps)).numpy()
    return Prediction(result[0].reshape(target.grid).cpu().numpy(), motion)


def token_agreement(made: np.ndarray, truth: np.ndarray) -> float:
    """Share of equal tokens."""
    if made.size != truth.size:
        raise DataError(f"{made.shape} tokens against {truth.shape} of the truth")
    return float((made.ravel() == truth.ravel()).mean())


def gaze_error(made: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of gaze points [T, 2], in parts of the picture's side; NaN is left out."""
    if made.shape != truth.shape or not np.isfinite(truth).any():
        raise DataError(f"gaze {made.shape} against {truth.shape} of the truth")
    return float(np.nanmean(np.linalg.norm(made - truth, axis=1)))


def trajectory_error(made: np.ndarray, truth: np.ndarray) -> float:
    """ATE: root mean square distance of camera places [T, 3] after the best rotation.

    Both are moved to the same centre and turned onto each other (Kabsch), not scaled.
    """
    if made.shape != truth.shape or made.shape[1] != 3:
        raise DataError(f"places {made.shape} against {truth.shape} of the truth")
    one, other = (each - each.mean(0) for each in (made, truth))
    u, _, vt = np.linalg.svd(one.T @ other)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt)) or 1.0])
    return float(np.sqrt(np.square(one @ (u @ flip @ vt) - other).sum(1).mean()))


def camera_places(steps: np.ndarray) -> np.ndarray:
    """[T, 3] from [T, 9] (places last) or camera-to-world matrices [T, 4, 4]."""
    if steps.shape[1:] == (4, 4):
        return (np.linalg.inv(steps[0]) @ steps)[:, :3, 3]
    if steps.shape[1:] == (9,):
        return steps[:, 6:]
    raise DataError(f"camera path {steps.shape}; expected [T, 9] or [T, 4, 4]")
