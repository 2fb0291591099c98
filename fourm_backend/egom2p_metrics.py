"""How good EgoM2P's results are: depth, pictures, gaze, the camera's path.

Shapes: F frames, H x W pixels, T motion steps.
"""

import numpy as np

from base.errors import DataError


def figures(
    target: str, made: np.ndarray, truth: np.ndarray, metric: bool = True
) -> dict[str, float]:
    """The figures of a task, the primary one first.

    Args:
        target: the modality.
        made: what was decoded.
        truth: the same of the recording; a camera path may be [T, 9] or matrices [T, 4, 4].
        metric: whether depth is in metres; otherwise it is first scaled and shifted to the truth.
    """
    if target == "tok_gaze":
        return {"gaze distance": gaze_error(made, truth)}
    if target == "tok_depth":
        made = made if metric else aligned(made, truth)
        errors = {"relative depth error": relative_error(made, truth)}
        return errors | ({"error of log depth": log_error(made, truth)} if metric else {})
    if target == "tok_rgb":
        return {"PSNR in dB": psnr_db(made, truth)}
    translation, rotation = step_errors(made, truth)
    ate = trajectory_error(camera_places(made), camera_places(truth))
    return {"ATE": ate, "RTE": translation, "RRE in degrees": rotation}


def token_agreement(made: np.ndarray, truth: np.ndarray) -> float:
    """Share of equal tokens."""
    if made.size != truth.size:
        raise DataError(f"{made.shape} tokens against {truth.shape} of the truth")
    return float((made.ravel() == truth.ravel()).mean())


def _same_shape(what: str, made: np.ndarray, truth: np.ndarray) -> None:
    if made.shape != truth.shape:
        raise DataError(f"{what} {made.shape} against {truth.shape} of the truth")


def gaze_error(made: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of gaze points [T, 2], in parts of the picture's side; NaN is left out."""
    if made.shape != truth.shape or not np.isfinite(truth).any():
        raise DataError(f"gaze {made.shape} against {truth.shape} of the truth")
    return float(np.nanmean(np.linalg.norm(made - truth, axis=1)))


def log_error(made_m: np.ndarray, truth_m: np.ndarray) -> float:
    """Mean absolute error of the logarithm of depth: .1 is about 10 %."""
    _same_shape("depth", made_m, truth_m)
    return float(np.abs(np.log(made_m) - np.log(truth_m)).mean())


def relative_error(made_m: np.ndarray, truth_m: np.ndarray) -> float:
    """Mean of the error over the true depth."""
    _same_shape("depth", made_m, truth_m)
    return float((np.abs(made_m - truth_m) / truth_m).mean())


def aligned(made: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Depth without a unit, scaled and shifted to the truth by least squares."""
    _same_shape("depth", made, truth)
    table = np.stack([made.ravel(), np.ones(made.size)], axis=1)
    (scale, shift), *_ = np.linalg.lstsq(table, truth.ravel(), rcond=None)
    return made * scale + shift


def psnr_db(made: np.ndarray, truth: np.ndarray) -> float:
    """Of a whole clip of uint8 frames."""
    _same_shape("frames", made, truth)
    squared = np.square((made.astype(np.float64) - truth) / 255.0).mean()
    return float(-10 * np.log10(max(squared, 1e-8)))


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


def step_errors(made: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """RTE and RRE: mean errors of the moves between successive poses, in metres and degrees."""
    one, other = camera_matrices(made), camera_matrices(truth)
    _same_shape("camera path", one, other)
    moves = [np.linalg.inv(poses[:-1]) @ poses[1:] for poses in (one, other)]
    translation = np.linalg.norm(moves[0][:, :3, 3] - moves[1][:, :3, 3], axis=1).mean()
    between = np.swapaxes(moves[0][:, :3, :3], 1, 2) @ moves[1][:, :3, :3]
    cosine = (np.trace(between, axis1=1, axis2=2) - 1.0) / 2.0
    return float(translation), float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))).mean())


def camera_matrices(steps: np.ndarray) -> np.ndarray:
    """[T, 4, 4] seen from the first pose, of [T, 9] (rotation columns, place) or matrices."""
    if steps.shape[1:] == (4, 4):
        return np.linalg.inv(steps[0]) @ steps
    if steps.shape[1:] != (9,):
        raise DataError(f"camera path {steps.shape}; expected [T, 9] or [T, 4, 4]")
    first = steps[:, :3] / np.linalg.norm(steps[:, :3], axis=1, keepdims=True)
    second = steps[:, 3:6] - (first * steps[:, 3:6]).sum(1, keepdims=True) * first
    second = second / np.linalg.norm(second, axis=1, keepdims=True)
    matrices = np.tile(np.eye(4), (len(steps), 1, 1))
    matrices[:, :3, :3] = np.stack([first, second, np.cross(first, second)], axis=2)
    matrices[:, :3, 3] = steps[:, 6:]
    return matrices


def camera_places(steps: np.ndarray) -> np.ndarray:
    """[T, 3] from [T, 9] (places last) or camera-to-world matrices [T, 4, 4]."""
    return camera_matrices(steps)[:, :3, 3]
