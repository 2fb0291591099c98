"""From a clip to frames: a portrait with drawn arms and hands, 320x240.

The portrait is the photograph of Eileen Collins (NASA, public domain) that comes with
scikit-image. Everything is drawn three times larger and averaged down.
"""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw
from skimage import data

from signers.clips import Clip, Signer
from signers.gestures import RELAXED, HandShape, shape_of

WIDTH, HEIGHT = 320, 240
_ZOOM = 3
BLEND = 0.7
_SHOULDERS = np.array([[98.0, 268.0], [312.0, 268.0]])  # in the portrait, 512 pixels
_BASES = np.array([[-0.19, 0.46], [-0.06, 0.51], [0.07, 0.49], [0.19, 0.42]])  # finger roots
_LENGTHS = (0.44, 0.49, 0.45, 0.35)
_ANGLES = np.radians([-11, -3, 6, 15])


def frames(clip: Clip) -> np.ndarray:
    """[T, 240, 320, 3] uint8 RGB."""
    return np.stack([_frame(clip, index) for index in range(len(clip.wrists))])


def _frame(clip: Clip, index: int) -> np.ndarray:
    signer = clip.signer
    image = _backdrop(signer).copy()
    draw = ImageDraw.Draw(image)
    centre, unit = _frame_of(signer)
    for hand in (1, 0):  # the hand that leads is in front
        side = (-1 if signer.left_handed else 1) * (1 if hand == 0 else -1)
        wrist = centre + unit * clip.wrists[index, hand] * [side, 1]
        shoulder = centre + unit * np.array([0.46 * side, 0.06])
        elbow = _elbow(signer, shoulder, wrist, side, unit)
        _arm(draw, signer, [shoulder, elbow, wrist], unit)
        forearm = (wrist - elbow) / max(float(np.linalg.norm(wrist - elbow)), 1e-6)
        along = BLEND * forearm + (1 - BLEND) * np.array([0.0, -1.0])
        tilt = np.arctan2(side * along[0], -along[1]) + clip.tilt[index, hand]
        shape = _between(RELAXED, shape_of(clip.gesture), clip.shaping[index, hand])
        _hand(draw, signer, shape, wrist, side, tilt, unit)
    if not np.isnan(clip.veil[index, 0]):
        left, top, right, bottom = clip.veil[index]
        side = -1 if signer.left_handed else 1
        x = sorted((centre[0] + unit * side * left, centre[0] + unit * side * right))
        y = centre[1] + unit * np.array([top, bottom])
        draw.rectangle([x[0], y[0], x[1], y[1]], fill=(70, 75, 80))
    return np.asarray(image.reduce(_ZOOM))


def _frame_of(signer: Signer) -> tuple[np.ndarray, float]:
    """Middle of the shoulders and shoulder width, in pixels of the large picture."""
    unit = _ZOOM * signer.scale * (_SHOULDERS[1, 0] - _SHOULDERS[0, 0])
    y = signer.top_px + signer.scale * _SHOULDERS[0, 1]
    return _ZOOM * np.array([signer.centre_px, y]), unit


@lru_cache(maxsize=4)
def _backdrop(signer: Signer) -> Image.Image:
    image = Image.new("RGB", (_ZOOM * WIDTH, _ZOOM * HEIGHT), signer.ground)
    draw = ImageDraw.Draw(image)
    centre, unit = _frame_of(signer)
    draw.rectangle(
        [centre[0] - 0.5 * unit, centre[1], centre[0] + 0.5 * unit, _ZOOM * HEIGHT],
        fill=signer.sleeve,
    )
    side = round(_ZOOM * signer.scale * 512)
    portrait = Image.fromarray(data.astronaut()).resize((side, side), Image.Resampling.BICUBIC)
    left = centre[0] - _ZOOM * signer.scale * _SHOULDERS[:, 0].mean()
    image.paste(portrait, (round(left), round(_ZOOM * signer.top_px)))
    return image


def _between(a: HandShape, b: HandShape, share: float) -> HandShape:
    def mix(x: float, y: float) -> float:
        return (1 - share) * x + share * y

    fingers = tuple(map(mix, a.fingers, b.fingers))
    return HandShape(b.name, mix(a.thumb, b.thumb), fingers, mix(a.spread, b.spread))  # type: ignore[arg-type]


def _elbow(
    signer: Signer, shoulder: np.ndarray, wrist: np.ndarray, side: int, unit: float
) -> np.ndarray:
    """[2]: where upper arm and forearm meet, pointing down and away from the body."""
    upper, lower = (unit * length for length in signer.arm_lengths)
    reach = wrist - shoulder
    distance = float(np.clip(np.linalg.norm(reach), abs(upper - lower) + 1, upper + lower - 1))
    along = (upper**2 - lower**2 + distance**2) / (2 * distance)
    across = np.sqrt(max(upper**2 - along**2, 0.0))
    forward = reach / max(float(np.linalg.norm(reach)), 1e-6)
    outward = np.array([-forward[1], forward[0]])
    if side * outward[0] + 2 * outward[1] < 0:
        outward = -outward
    return shoulder + along * forward + across * outward


def _arm(draw: ImageDraw.ImageDraw, signer: Signer, joints: list[np.ndarray], unit: float) -> None:
    """Shoulder, elbow, wrist."""
    dark = tuple(int(0.82 * c) for c in signer.sleeve)
    for width, colour in ((0.30, dark), (0.27, signer.sleeve)):
        _limb(draw, joints[:2], width * unit, colour)
        _limb(draw, joints[1:], 0.8 * width * unit, colour)


def _hand(
    draw: ImageDraw.ImageDraw,
    signer: Signer,
    shape: HandShape,
    wrist: np.ndarray,
    side: int,
    tilt: float,
    unit: float,
) -> None:
    """Palm and fingers, seen from the palm, pointing up; the thumb is on the inner side."""
    length = signer.hand_length * unit
    sine, cosine = np.sin(tilt), np.cos(tilt)

    def place(point: np.ndarray) -> np.ndarray:
        x, y = point
        return wrist + length * np.array([side * (cosine * x + sine * y), sine * x - cosine * y])

    edge = tuple(int(0.72 * c) for c in signer.skin)
    parts: list[tuple[list[np.ndarray], float]] = [
        ([np.array([0, -0.14]), np.array([0, 0.1])], 0.26)
    ]
    for base, reach, angle, stretch in zip(_BASES, _LENGTHS, _ANGLES, shape.fingers, strict=True):
        direction = np.array([np.sin(angle * shape.spread), np.cos(angle * shape.spread)])
        tip = base + direction * reach * (0.22 + 0.78 * stretch)
        parts.append(([base * [1, 0.85], tip], 0.115))
    root = np.array([-0.12, 0.14])
    out = np.array([-0.34, 0.36]) * (0.55 + 0.45 * shape.thumb)
    knee = root + out * 0.55
    tip = root + out if shape.thumb > 0.5 else np.array([0.0, 0.36])
    thumb = ([root, knee, shape.thumb * (root + out) + (1 - shape.thumb) * tip], 0.125)
    palm = [
        np.array(p) for p in ((-0.13, 0.08), (-0.17, 0.42), (0.0, 0.47), (0.17, 0.38), (0.13, 0.08))
    ]
    for grow, colour in ((0.035, edge), (0.0, signer.skin)):
        for points, width in parts:
            _limb(draw, [place(p) for p in points], (width + grow) * length, colour)
        corners = [place(p * (1 + grow)) for p in palm]
        _limb(draw, [*corners, corners[0]], (0.12 + grow) * length, colour)
        draw.polygon([tuple(p) for p in corners], fill=colour)
    for base, stretch in zip(_BASES, shape.fingers, strict=True):
        if stretch < 0.5:  # the folded finger is seen on the palm
            _limb(draw, [place(base * [1, 1.1]), place(base * [0.9, 0.75])], 0.10 * length, edge)
            _limb(
                draw,
                [place(base * [1, 1.1]), place(base * [0.9, 0.78])],
                0.075 * length,
                signer.skin,
            )
    for grow, colour in ((0.03, edge), (0.0, signer.skin)):
        _limb(draw, [place(p) for p in thumb[0]], (thumb[1] + grow) * length, colour)


def _limb(
    draw: ImageDraw.ImageDraw, points: list[np.ndarray], width: float, colour: tuple[int, ...]
) -> None:
    """A thick line with round joints and ends."""
    draw.line([tuple(p) for p in points], fill=colour, width=max(round(width), 1))
    for x, y in points:
        draw.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=colour)
