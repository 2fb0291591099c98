"""What the figures say, in sentences: what each candidate saves, what it costs, which is better.

A difference is only called one where its 95 % interval leaves out zero.
"""

import itertools
from collections.abc import Sequence
from typing import Any

from eval.comparison import ORIGINAL
from eval.evaluation import Evaluation
from eval.figures import quality_figures
from eval.headline import heading, shown_mean, shown_number


def verdict(evaluation: Evaluation) -> list[str]:
    """A sentence or two about each candidate, then about each pair that is shown side by side."""
    names = evaluation.comparison.candidates
    sentences = [_about(evaluation, name) for name in names]
    for baseline, candidate in itertools.combinations(evaluation.comparison.side_by_side, 2):
        sentences.append(_about_pair(evaluation, candidate, baseline))
    return [sentence for sentence in sentences if sentence]


def clear_winner(summary: dict[str, Any], figure: str) -> str | None:
    """The candidate that is better than every other one in a figure, if there is such a one."""
    entries = [entry for entry in summary["differences"] if entry["figure"] == figure]
    higher = summary["definitions"][figure]["higher_is_better"]
    beaten: dict[str, int] = {}
    for entry in entries:
        gain = _sign(entry, higher)
        if gain:
            winner = entry["candidate"] if gain > 0 else entry["baseline"]
            beaten[winner] = beaten.get(winner, 0) + 1
    others = len({entry[side] for entry in entries for side in ("candidate", "baseline")}) - 1
    return next((name for name, count in beaten.items() if count == others), None)


def _about(evaluation: Evaluation, name: str) -> str:
    figures, original = _means(evaluation, name), _means(evaluation, ORIGINAL)
    parts = []
    if "compute_saved" in figures:
        saved = shown_number("compute_saved", figures["compute_saved"]["mean"])
        parts.append(f"saves {saved} of the compute")
    if "latency_ms" in figures and "latency_ms" in original:
        ms, full = (of["latency_ms"]["mean"] for of in (figures, original))
        if ms > 0:
            parts.append(f"takes {ms:.1f} ms an image where {ORIGINAL} takes {full:.1f}")
            parts[-1] += f" ({full / ms:.2f} times as fast)"
    quality = quality_of(evaluation, name)
    if quality:
        value, interval = shown_mean(quality, figures[quality])
        worst, low = _worst(evaluation, name, quality)
        parts.append(f"has {heading(quality)} {value} {interval}".rstrip())
        parts[-1] += f" over {figures[quality]['n']} images (worst: {worst}, {low})"
    return f"{name} {_listed(parts)}." if parts else ""


def _about_pair(evaluation: Evaluation, candidate: str, baseline: str) -> str:
    """Which of two is better in quality, which in cost, and whether one is better in both."""
    quality = quality_of(evaluation, candidate)
    entries = {
        entry["figure"]: entry
        for entry in evaluation.summary["differences"]
        if (entry["candidate"], entry["baseline"]) == (candidate, baseline)
    }
    cost = next((name for name in ("compute_saved", "latency_ms") if name in entries), None)
    if quality is None or quality not in entries:
        return ""
    definitions = evaluation.summary["definitions"]
    better = _sign(entries[quality], definitions[quality]["higher_is_better"])
    entry = entries[quality]
    text = (
        f"{candidate} against {baseline}, image by image: "
        f"{_difference(quality, entry, better)}, better on {entry['wins']} of {entry['n']} images"
    )
    if cost is None:
        return f"{text}."
    cheaper = _sign(entries[cost], definitions[cost]["higher_is_better"])
    text += f"; {_difference(cost, entries[cost], cheaper)}. "
    if better == cheaper == 0:
        return text + "These images do not tell the two apart."
    if better * cheaper < 0:
        return text + "Each is better in one of the two: a trade, not a winner."
    winner = candidate if better + cheaper > 0 else baseline
    also = "in both" if better and cheaper else "in one, and not told apart in the other"
    return text + f"{winner} is better {also}."


def quality_of(evaluation: Evaluation, candidate: str) -> str | None:
    """The first figure of quality that a candidate has: the one that words and orders rest on."""
    figures = _means(evaluation, candidate)
    return next((f.name for f in quality_figures(evaluation.figures) if f.name in figures), None)


def _means(evaluation: Evaluation, name: str) -> dict[str, dict[str, Any]]:
    """The figures of a folder that have a mean: no image may be in all folders."""
    figures = evaluation.summary["folders"][name]["figures"]
    return {figure: values for figure, values in figures.items() if values["mean"] is not None}


def _difference(figure: str, entry: dict[str, Any], gain: int) -> str:
    mean, interval = shown_mean(figure, entry | {"mean": entry["mean_difference"]}, sign="+")
    if entry["ties"] == entry["n"]:
        return f"{heading(figure)} equal on every image"
    return f"{heading(figure)} {mean} {interval}".rstrip() + ("" if gain else ", maybe by chance")


def _sign(entry: dict[str, Any], higher_is_better: bool) -> int:
    """1 for a candidate that is better than its baseline, -1 for a worse one, 0 for neither."""
    low, high = entry["ci95"] or (0.0, 0.0)
    way = (low > 0) - (high < 0)
    return way if higher_is_better else -way


def _worst(evaluation: Evaluation, name: str, figure: str) -> tuple[str, str]:
    images = evaluation.images
    own = images[(images["folder"] == name) & images[figure].notna()].set_index("id")[figure]
    higher = evaluation.summary["definitions"][figure]["higher_is_better"]
    worst = own.idxmin() if higher else own.idxmax()
    return str(worst), shown_number(figure, own[worst])


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
