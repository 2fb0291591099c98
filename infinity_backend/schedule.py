"""The official schedules: token grids of every scale, by aspect ratio and resolution."""

import json
from functools import lru_cache
from importlib.resources import files

from base.errors import ConfigError
from infinity_backend.bsq import Grid

STAGES = {"0.06M": 7, "0.25M": 10, "0.60M": 12, "1M": 13}  # a resolution is a prefix of 1M


@lru_cache(maxsize=1)
def _templates() -> dict[str, tuple[Grid, ...]]:
    text = files("infinity_backend").joinpath("data/schedules.json").read_text(encoding="utf-8")
    return {
        name: tuple((height, width) for height, width in grids)
        for name, grids in json.loads(text).items()
    }


def template_names() -> tuple[str, ...]:
    """The height-to-width ratios that have official schedules."""
    return tuple(_templates())


def nearest_template(height_over_width: float) -> str:
    """The name of the template whose ratio is nearest; the first listed on a tie."""
    return min(_templates(), key=lambda name: abs(float(name) - height_over_width))


def official_schedule(template: float | str, resolution: str) -> tuple[tuple[Grid, ...], Grid]:
    """The grids of a template at a resolution, and the grid that RoPE is scaled to.

    Args:
        template: one of the 15 height-to-width ratios, such as 1.0 or 0.571.
        resolution: `0.06M`, `0.25M`, `0.60M` or `1M` pixels.

    Raises:
        ConfigError: an unknown template or resolution; the known ones are listed.
    """
    templates, name = _templates(), str(float(template))
    if name not in templates:
        raise ConfigError(f"no template {template}; known are {', '.join(templates)}")
    if resolution not in STAGES:
        raise ConfigError(f"no resolution {resolution!r}; known are {', '.join(STAGES)}")
    return templates[name][: STAGES[resolution]], templates[name][-1]


def change_aspect(
    schedule: tuple[Grid, ...], rope_grid: Grid, height_over_width: float
) -> tuple[tuple[Grid, ...], Grid]:
    """The official schedule of another aspect ratio at the resolution of `schedule`.

    Args:
        schedule: one of the official schedules.
        rope_grid: the grid that belongs to it.
        height_over_width: of the image to make; the nearest template is taken.

    Raises:
        ConfigError: `schedule` is none of the official ones, so no other template belongs to it.
    """
    for resolution in STAGES:
        for template in _templates():
            if official_schedule(template, resolution) == (tuple(schedule), tuple(rope_grid)):
                return official_schedule(nearest_template(height_over_width), resolution)
    raise ConfigError(
        f"this model has a schedule of its own ({len(schedule)} stages up to {schedule[-1]}), for "
        "one aspect ratio only; leave the aspect ratio out"
    )
