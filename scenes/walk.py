"""A walk through a drawn scene: 16 frames of 2 seconds, their depth, and the camera's path.

The objects of a scene stand on its ground, which is flat, as upright cut-outs that face the walker;
the place in the caption says where (top is far, bottom is near). Number and caption give every
place, height and turn, so the same walk is the same everywhere. Split as the scenes are.

Axes are those of OpenCV: x to the right, y down, z ahead; the ground is y = 0. Lengths in metres.

Shapes: F frames, S = SIDE pixels, T steps of the path.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from scenes.render import DARK, RGB
from scenes.world import Scene, Split, Thing, prompts

SIDE = 48  # pixels
FRAMES, FRAMES_PER_S = 16, 8
STEPS, STEPS_PER_S = 60, 30
NEAREST, FARTHEST = 0.5, 16.0  # metres; the sky is at the farthest
FOCAL = 0.8 * SIDE  # pixels: a view of 64 degrees
PERIOD = 0.8  # metres, of textures on the ground
RADIUS = {"small": 0.35, "large": 0.6}  # metres
SKY = np.array([[150.0, 190.0, 235.0], [225.0, 235.0, 245.0]])  # above, and at the horizon
_SPREAD = {"left": -0.9, "right": 0.9, "top": 5.0, "bottom": 2.8}
_FINE = 2  # rays a pixel and axis


@dataclass(frozen=True)
class Walk:
    """What a walk shows.

    Attributes:
        frames: [F, S, S, 3] uint8.
        depth_m: [F, S, S] float32, along the optical axis.
        poses: [T, 4, 4] float32, camera to world.
    """

    frames: np.ndarray
    depth_m: np.ndarray
    poses: np.ndarray


def walks(split: Split, count: int, seed: int = 0) -> list[Scene]:
    """`count` different scenes of a split to walk through."""
    return prompts(split, count, seed)


def draw_walk(scene: Scene, number: int = 0) -> Walk:
    """Walk through a scene."""
    digest = hashlib.sha256(f"walk|{scene.canonical.caption}|{number}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    places = [_stand(thing, rng) for thing in scene.canonical.things]
    motion = _Motion(rng)
    times = np.arange(FRAMES) / FRAMES_PER_S
    seen = [_look(scene, places, motion.pose(time)) for time in times]
    poses = np.stack([motion.pose(step / STEPS_PER_S) for step in range(STEPS)])
    frames, depth = (np.stack(column) for column in zip(*seen, strict=True))
    return Walk(frames, depth, poses.astype(np.float32))


def _stand(thing: Thing, rng: np.random.Generator) -> tuple[float, float]:
    """Where an object stands: to the right, and ahead."""
    row, column = thing.place.split()
    aside, ahead = rng.uniform(-0.35, 0.35), rng.uniform(-0.7, 0.7)
    return _SPREAD[column] * (1.0 if row == "bottom" else 1.6) + aside, _SPREAD[row] + ahead


class _Motion:
    """A way of walking: speed, turning, height, and how the head bobs."""

    def __init__(self, rng: np.random.Generator):
        self.height = rng.uniform(1.0, 1.8)
        self.pitch = math.radians(rng.uniform(6.0, 34.0))
        self.yaw = math.radians(rng.uniform(-8.0, 8.0))
        self.turning = math.radians(rng.uniform(-10.0, 10.0))  # a second
        self.nodding = math.radians(rng.uniform(-5.0, 5.0))
        self.speed = rng.uniform(0.0, 0.7), rng.uniform(-0.25, 0.25)  # ahead, to the right
        self.bob, self.beat = rng.uniform(0.0, 0.05), rng.uniform(1.2, 2.2)
        self.phase = rng.uniform(0.0, 2 * math.pi)

    def pose(self, time_s: float) -> np.ndarray:
        """[4, 4], camera to world."""
        yaw, pitch = self.yaw + self.turning * time_s, self.pitch + self.nodding * time_s
        bob = self.bob * math.sin(2 * math.pi * self.beat * time_s + self.phase)
        turn = np.array(
            [[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]]
        )
        nod = np.array(
            [
                [1, 0, 0],
                [0, math.cos(pitch), math.sin(pitch)],
                [0, -math.sin(pitch), math.cos(pitch)],
            ]
        )
        pose = np.eye(4)
        pose[:3, :3] = turn @ nod
        pose[:3, 3] = self.speed[1] * time_s, -self.height - bob, self.speed[0] * time_s
        return pose


def _rays() -> np.ndarray:
    """[S * fine, S * fine, 3] in the camera, one step along the optical axis."""
    axis = (np.arange(SIDE * _FINE) + 0.5) / _FINE - SIDE / 2
    across, down = np.meshgrid(axis / FOCAL, axis / FOCAL)
    return np.stack([across, down, np.ones_like(down)], axis=-1).astype(np.float32)


_RAYS = _rays()


def _look(
    scene: Scene, places: list[tuple[float, float]], pose: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One frame, [S, S, 3] uint8, and its depth, [S, S]."""
    rays = _RAYS @ pose[:3, :3].T.astype(np.float32)
    x, y, z = (float(value) for value in pose[:3, 3])
    down = rays[..., 1]
    depth = np.where(down > 1e-4, -y / np.maximum(down, 1e-4), FARTHEST)
    depth = np.minimum(depth, FARTHEST)
    shade = _dark(scene.ground, x + depth * rays[..., 0], z + depth * rays[..., 2], PERIOD)
    shade = shade * np.clip(2.5 / depth, 0.0, 1.0)  # far textures are finer than a pixel
    colour = _tone(scene.ground_colour, shade)
    sky = depth >= FARTHEST
    height = np.clip(-4.0 * down[sky], 0.0, 1.0)[:, None]
    colour[sky] = SKY[1] + height * (SKY[0] - SKY[1])
    for thing, (aside, ahead) in zip(scene.canonical.things, places, strict=True):
        radius = RADIUS[thing.size]
        distance = (ahead - z) / np.maximum(rays[..., 2], 1e-4)
        u = x + distance * rays[..., 0] - aside
        v = y + distance * down + radius  # the middle is one radius above the ground
        hit = _inside(thing.shape, u / radius, v / radius)
        hit &= (distance > NEAREST) & (distance < depth)
        depth[hit] = distance[hit]
        colour[hit] = _tone(thing.colour, _dark(thing.fill, u[hit], v[hit], radius / 2))
    fine = colour.reshape(SIDE, _FINE, SIDE, _FINE, 3).mean((1, 3))
    # the nearest of a pixel's rays: a mean would put points between objects and what is behind
    near = depth.reshape(SIDE, _FINE, SIDE, _FINE).min((1, 3))
    return np.rint(fine).astype(np.uint8), np.maximum(near, NEAREST).astype(np.float32)


def _tone(colour: str, dark: np.ndarray) -> np.ndarray:
    return (1.0 - (1.0 - DARK) * dark)[..., None] * np.asarray(RGB[colour], np.float32)


def _dark(name: str, u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    """Share of the dark tone of a texture at places (u, v)."""
    odd_u, odd_v = np.floor(2 * u / period) % 2 == 1, np.floor(2 * v / period) % 2 == 1
    if name == "striped":
        dark = odd_v
    elif name == "checkered":
        dark = odd_u ^ odd_v
    elif name == "dotted":
        dark = np.hypot(u % period - period / 2, v % period - period / 2) < 0.33 * period
    else:
        return np.zeros_like(u)
    return dark.astype(np.float32)


def _inside(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Which places of the square from -1 to 1 a shape covers."""
    if shape == "circle":
        return np.hypot(u, v) < 1.0
    if shape == "square":
        return np.maximum(abs(u), abs(v)) < 0.88
    if shape == "triangle":
        return (abs(u) < (v + 1.0) * 0.55) & (v < 1.0)
    return (np.minimum(abs(u), abs(v)) < 0.33) & (np.maximum(abs(u), abs(v)) < 1.0)
