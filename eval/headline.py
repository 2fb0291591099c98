"""The few figures that a person reads first, in words: for the console and for the report."""

from collections.abc import Collection
from typing import Any, NamedTuple


class _Column(NamedTuple):
    heading: str
    form: str
    scale: float = 1.0


_COLUMNS = {  # in the order of the columns
    "compute_saved": _Column("compute saved", "{:.1%}"),
    "cost_flops": _Column("GFLOPs / image", "{:.4g}", 1e-9),
    "latency_ms": _Column("ms / image", "{:.1f}"),
    "ssim": _Column("SSIM", "{:.4f}"),
    "ssim_uniform7": _Column("SSIM (uniform 7)", "{:.4f}"),
    "ssim_legacy3": _Column("SSIM (legacy 3)", "{:.4f}"),
    "ms_ssim": _Column("MS-SSIM", "{:.4f}"),
    "psnr_capped50": _Column("PSNR dB (≤50)", "{:.2f}"),
    "lpips": _Column("LPIPS", "{:.4f}"),
    "lpips_standin": _Column("LPIPS stand-in", "{:.4f}"),
    "clip": _Column("CLIP", "{:.4f}"),
    "clip_scenes": _Column("CLIP (scenes)", "{:.4f}"),
}
_HIDDEN = ("psnr", "psnr_capped100")  # other forms of a figure that is shown


def headline_table(
    summary: dict[str, Any], category: str | None = None
) -> tuple[list[str], list[list[tuple[str, str]]]]:
    """The means of each folder.

    Args:
        summary: `Evaluation.summary`.
        category: the means of this category instead of those of all images.

    Returns:
        The headings, and a row for each folder of (value, note); the note of a mean is its 95 %
        interval, and how many images it rests on where those are fewer than were compared. A figure
        that the folder cannot have is ("-", ""). An arrow shows which way is better.
    """
    shown = shown_figures(summary)
    rows = []
    for name, folder in summary["folders"].items():
        figures = summary["categories"][category][name] if category else folder["figures"]
        compared = max((figures[figure]["n"] for figure in shown if figure in figures), default=0)
        cells = [(name, folder["controller"] or _origin(folder))]
        cells.append((str(compared) if compared else "-", f"of {folder['images']}"))
        for figure in shown:
            value, note = shown_mean(figure, values := figures.get(figure))
            if values and values["n"] < compared:
                note = f"{note} {values['n']} images".strip()
            cells.append((value, note))
        rows.append(cells)
    arrows = ["↑" if summary["definitions"][name]["higher_is_better"] else "↓" for name in shown]
    names = [f"{heading(name)} {arrow}" for name, arrow in zip(shown, arrows, strict=True)]
    return ["folder", "compared", *names], rows


def shown_figures(summary: dict[str, Any]) -> list[str]:
    """The figures that a person sees, in their order; other forms of the same are left out."""
    known = [name for name in summary["definitions"] if name not in _HIDDEN]
    first = [name for name in _COLUMNS if name in known]
    return first + [name for name in known if name not in _COLUMNS]


def _origin(folder: dict[str, Any]) -> str:
    return "" if folder["fingerprint"] else "no provenance"


def difference_tables(
    summary: dict[str, Any], candidates: Collection[str]
) -> tuple[list[str], dict[str, list[list[str]]]]:
    """These candidates against each other, image by image.

    Returns:
        The headings, and by pair of candidates a row for each figure: mean difference with its
        interval, and how many images the first one wins.
    """
    tables: dict[str, list[list[str]]] = {}
    for entry in summary["differences"]:
        if entry["figure"] in _HIDDEN or not entry["n"]:
            continue
        if not {entry["candidate"], entry["baseline"]} <= set(candidates):
            continue
        mean, interval = shown_mean(
            entry["figure"], entry | {"mean": entry["mean_difference"]}, sign="+"
        )
        tables.setdefault(f"{entry['candidate']} - {entry['baseline']}", []).append(
            [
                heading(entry["figure"]),
                f"{mean} {interval}".strip(),
                f"{entry['wins']}/{entry['ties']}/{entry['losses']}",
                f"{entry['win_rate']:.0%}",
            ]
        )
    return ["figure", "mean difference", "wins/ties/losses", "win rate"], tables


def heading(figure: str) -> str:
    """What a figure is called in a table."""
    return _COLUMNS[figure].heading if figure in _COLUMNS else figure


def shown_number(figure: str, number: float, sign: str = "") -> str:
    """A value of a figure as a person reads it; `sign` is `+` where a plus is to be seen."""
    column = _COLUMNS.get(figure, _Column(figure, "{:.4g}"))
    return column.form.replace("{:", "{:" + sign).format(column.scale * number)


def shown_mean(figure: str, values: dict[str, Any] | None, sign: str = "") -> tuple[str, str]:
    """A mean and its interval; ("-", "") where there is none."""
    if not values or values["mean"] is None:
        return "-", ""
    low_high = [shown_number(figure, bound, sign) for bound in values["ci95"] or ()]
    return shown_number(figure, values["mean"], sign), f"[{', '.join(low_high)}]" * bool(low_high)
