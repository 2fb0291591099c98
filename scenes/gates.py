"""The gates of the small model: what it must reach on test prompts before it is shipped."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from base.files import write_json
from infinity_backend.generator import InfinityGenerator
from scenes.headroom import draw_leaves, oracle_gain
from scenes.measures import (
    clip_top1,
    generate,
    milliseconds_per_image,
    place_words,
    reconstruction,
    share_right,
    squared_error,
)
from scenes.render import render
from scenes.rules import judge
from scenes.sheet import contact_sheet
from scenes.world import prompts

log = logging.getLogger(__name__)

MIDDLE = slice(2, 5)  # the scales of 3x3, 4x4 and 5x5 tokens


@dataclass(frozen=True)
class Gate:
    """One measured value and its bound; a gate without a bound is for information."""

    name: str
    value: float
    bound: float | None = None
    at_most: bool = False

    @property
    def passed(self) -> bool:
        """Whether the value keeps the bound."""
        if self.bound is None:
            return True
        return self.value <= self.bound if self.at_most else self.value >= self.bound


@dataclass(frozen=True)
class Report:
    """All gates of one model."""

    fingerprint: str
    gates: tuple[Gate, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate holds."""
        return all(gate.passed for gate in self.gates)

    def table(self) -> str:
        """The gates as lines of text (and of Markdown)."""
        lines = ["| measured on test prompts | value | gate | |", "|---|---|---|---|"]
        for gate in self.gates:
            bound = "" if gate.bound is None else f"{'<=' if gate.at_most else '>='} {gate.bound:g}"
            verdict = "" if gate.bound is None else "ok" if gate.passed else "**missed**"
            lines.append(f"| {gate.name} | {gate.value:.4g} | {bound} | {verdict} |")
        return "\n".join(lines)


def measure(folder: str | Path, out_dir: str | Path, count: int = 256) -> Report:
    """Measure every gate of a pipeline folder; write `gates.json` and the contact sheets.

    Args:
        folder: the pipeline folder, with the scenes CLIP in `clip/`.
        out_dir: where the report goes.
        count: test prompts; a multiple of 128.
    """
    folder, out_dir = Path(folder), Path(out_dir)
    generator = InfinityGenerator.from_pretrained(folder)
    scenes = prompts("test", count)
    gates: list[Gate] = []

    def add(name: str, value: float, bound: float | None = None, at_most: bool = False) -> None:
        gates.append(Gate(name, value, bound, at_most))
        log.info("%s: %.4g", name, value)

    rebuilt = reconstruction(generator, scenes)
    add("reconstruction, PSNR in dB, all", rebuilt["psnr_db"], 29.0)
    add("reconstruction, PSNR in dB, textured grounds", rebuilt["textured_db"], 27.0)
    add("reconstruction, PSNR in dB, plain grounds", rebuilt["plain_db"])
    add("reconstruction, PSNR in dB, inside objects", rebuilt["inside_objects_db"], 24.0)
    add("reconstruction, shapes right", rebuilt["shapes"], 0.95)
    real = np.stack([render(scene, 1) for scene in scenes])
    verdicts = [judge(picture, scene) for picture, scene in zip(real, scenes, strict=True)]
    add("real renders, shapes right by the rule", share_right(verdicts, "shapes"), 1.0)
    drawn = generate(generator, scenes)
    verdicts = [judge(picture, scene) for picture, scene in zip(drawn, scenes, strict=True)]
    add("generated, object colour right at its place", share_right(verdicts, "colours"), 0.95)
    add("generated, object shape right", share_right(verdicts, "shapes"), 0.8)
    add("generated, object fill right", share_right(verdicts, "fills"))
    add("generated, object size right", share_right(verdicts, "sizes"))
    add("generated, ground right", float(np.mean([v.ground for v in verdicts])))
    rise = place_words(generator, scenes)
    add(
        "place words permuted, rise of the loss per bit, least of 3x3 to 5x5",
        min(rise[MIDDLE]),
        0.2,
    )
    real_top1 = clip_top1(folder / "clip", scenes, real)
    drawn_top1 = clip_top1(folder / "clip", scenes, drawn)
    add("scenes CLIP, top-1 of 128 captions, real renders", real_top1, 0.85)
    add("scenes CLIP, generated as a share of real", drawn_top1 / real_top1, 0.9)
    error = squared_error(drawn, generate(generator, scenes, skip_last=True))
    low, high = np.quantile(error, (0.1, 0.9))
    add("last scale skipped, squared error, 90th over 10th percentile", float(high / low), 5.0)
    add("last scale skipped, median PSNR in dB", float(-10 * np.log10(np.median(error))))
    gains = [oracle_gain(draw_leaves(generator, scenes[:128], seed)) for seed in (0, 1)]
    gain = {name: float(np.mean([found[name] for found in gains])) for name in gains[0]}
    add("45 % of compute, best mix of fixed schedules, dB", gain["mix_db"])
    add("45 % of compute, oracle per prompt over the mix, dB", gain["gain_db"], 1.0)
    add("ms an image, batch of 16, 2 cores", milliseconds_per_image(generator, scenes), 150.0, True)
    report = Report(generator.fingerprint, tuple(gates))
    values = {
        "fingerprint": report.fingerprint,
        "passed": report.passed,
        "gates": [{**asdict(gate), "passed": gate.passed} for gate in gates],
        "place_words_by_scale": rise,
    }
    write_json(out_dir / "gates.json", values)
    captions = [scene.caption for scene in scenes]
    contact_sheet(
        [drawn[:48], real[:48]], captions[:48], out_dir / "sheet.png", "top: generated, below: real"
    )
    return report
