"""The world of walks: geometry that can be checked, and the same walk everywhere."""

import numpy as np
import torch

from scenes.walk import FARTHEST, FOCAL, NEAREST, SIDE, draw_walk, walks
from scenes.walk_data import gather, stored_walks
from scenes.world import Scene, Thing


def scene(*things: Thing, ground: str = "plain") -> Scene:
    return Scene(things, ground, "green")


def test_a_walk_is_the_same_everywhere_and_differs_by_number() -> None:
    one = walks("test", 3)[1]
    assert one.split == "test" and walks("test", 2)[1] == one
    first, again, other = draw_walk(one), draw_walk(one), draw_walk(one, 1)
    np.testing.assert_array_equal(first.frames, again.frames)
    assert first.frames.shape == (16, SIDE, SIDE, 3) and first.poses.shape == (60, 4, 4)
    assert (first.frames != other.frames).any()


def test_depth_is_that_of_the_ground_that_the_camera_sees() -> None:
    """Each pixel's point, placed by its depth and the pose, lies on the ground or far away."""
    walk = draw_walk(scene())
    pose, depth = walk.poses[0], walk.depth_m[0]
    assert depth.min() >= NEAREST and depth.max() == FARTHEST
    axis = (np.arange(SIDE) + 0.5 - SIDE / 2) / FOCAL
    across, down = np.meshgrid(axis, axis)
    points = np.stack([across, down, np.ones_like(across)], axis=-1) * depth[..., None]
    world = points @ pose[:3, :3].T + pose[:3, 3]
    near = depth < 4.0
    assert near.any() and np.abs(world[near][:, 1]).max() < 0.25  # a pixel covers some ground


def test_objects_stand_before_the_ground_and_move_as_the_camera_does() -> None:
    thing = Thing("large", "plain", "red", "square", "bottom left")
    empty, full = draw_walk(scene()), draw_walk(scene(thing))
    red = (full.frames[..., 0] > 150) & (full.frames[..., 1] < 80)
    assert red[0].sum() > 20
    rows = np.where(red[0])[0]
    assert np.ptp(full.depth_m[0][red[0]]) < 0.8  # upright: nearly one depth
    assert rows.mean() < SIDE - 1 and empty.frames.shape == full.frames.shape
    moved = np.linalg.inv(full.poses[0]) @ full.poses[-1]
    assert 0.0 < np.linalg.norm(moved[:3, 3]) < 2.5


def test_stored_walks_are_drawn_once(tmp_path) -> None:  # type: ignore[no-untyped-def]
    first = stored_walks(tmp_path, "train", 3, 0)
    before = (tmp_path / "frames.npy").stat().st_mtime_ns
    again = stored_walks(tmp_path, "train", 3, 0)
    assert (tmp_path / "frames.npy").stat().st_mtime_ns == before
    np.testing.assert_array_equal(first.frames, again.frames)
    values = again.values("tok_depth", slice(0, 2))
    assert values.shape == (2, 1, 20, SIDE, SIDE) and float(values.abs().max()) <= 1.0
    assert again.values("tok_cam", np.array([2, 0])).shape == (2, 60, 9)
    assert len(stored_walks(tmp_path, "train", 2, 0)) == 2  # another number: drawn again
    together = gather([draw_walk(each) for each in walks("train", 2)])
    assert together.values("tok_rgb", slice(None)).dtype == torch.float32
