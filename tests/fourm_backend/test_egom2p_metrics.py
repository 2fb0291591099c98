"""Figures of depth, pictures, gaze and paths on cases whose answer is known."""

import numpy as np
import pytest

from base.errors import DataError
from fourm_backend.egom2p_metrics import camera_places, figures, step_errors, trajectory_error


def test_a_turned_path_has_no_error_and_a_mirrored_one_has() -> None:
    path = np.random.default_rng(1).normal(size=(60, 3))
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    assert trajectory_error(path @ turn + 3, path) == pytest.approx(0, abs=1e-9)
    assert trajectory_error(-path, path) > 0.5
    assert trajectory_error(2 * path, path) > 0.5
    with pytest.raises(DataError, match=r"\(60, 5\)"):
        camera_places(np.zeros((60, 5)))


def test_steps_between_poses() -> None:
    """A camera that turns by 2 degrees a step instead of 1, and moves .3 instead of .1 ahead."""

    def path(degrees: float, metres: float) -> np.ndarray:
        pose, poses = np.eye(4), [np.eye(4)]
        angle = np.radians(degrees)
        move = np.eye(4)
        move[:3, :3] = [
            [np.cos(angle), 0, np.sin(angle)],
            [0, 1, 0],
            [-np.sin(angle), 0, np.cos(angle)],
        ]
        move[2, 3] = metres
        for _ in range(9):
            pose = pose @ move
            poses.append(pose)
        return np.stack(poses)

    made, truth = path(2.0, 0.3), path(1.0, 0.1)
    assert step_errors(made, truth) == pytest.approx((0.2, 1.0))
    columns = np.concatenate([made[:, :3, 0], made[:, :3, 1], made[:, :3, 3]], axis=1)
    assert step_errors(columns, made) == pytest.approx((0.0, 0.0), abs=1e-4)
    told = figures("tok_cam", columns, truth)
    assert list(told) == ["ATE", "RTE", "RRE in degrees"] and told["RTE"] == pytest.approx(0.2)


def test_depth_with_and_without_a_unit() -> None:
    truth = np.random.default_rng(0).uniform(1.0, 9.0, size=(2, 3, 3))
    told = figures("tok_depth", 1.1 * truth, truth)
    assert told["relative depth error"] == pytest.approx(0.1)
    assert told["error of log depth"] == pytest.approx(np.log(1.1))
    told = figures("tok_depth", 20.0 * truth + 3.0, truth, metric=False)
    assert told == {"relative depth error": pytest.approx(0.0, abs=1e-9)}
    with pytest.raises(DataError, match="depth"):
        figures("tok_depth", truth[:1], truth)


def test_frames() -> None:
    frames = np.zeros((2, 4, 4, 3), np.uint8)
    assert figures("tok_rgb", frames + 255, frames)["PSNR in dB"] == pytest.approx(0.0)
    assert figures("tok_rgb", frames, frames)["PSNR in dB"] == pytest.approx(80.0)
