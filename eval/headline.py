"""The few figures that a person reads first, in words: for the console and for the report."""

from collections.abc import Collection
from typing import Any

_COLUMNS = {  # figure: (heading, format); the order of the columns
    "compute_saved": ("compute saved", "{:.1%}"),
    "latency_ms": ("ms / image", "{:.1f}"),
    "ssim": ("SSIM", "{:.4f}"),
    "ssim_uniform7": ("SSIM (uniform 7)", "{:.4f}"),
    "ssim_legacy3": ("SSIM (legacy 3)", "{:.4f}"),
    "ms_ssim": ("MS-SSIM", "{:.4f}"),
    "psnr_capped50": ("PSNR dB (≤50)", "{:.2f}"),
    "lpips": ("LPIPS", "{:.4f}"),
    "lpips_standin": ("LPIPS stand-in", "{:.4f}"),
    "clip": ("CLIP", "{:.4f}"),
    "clip_scenes": ("CLIP (scenes)", "{:.4f}"),
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
        The headings, and a row for each folder of (value, 95 % interval). A figure that the folder
        cannot have is ("-", ""); a metric without its package or weights is "not computed".
    """
    known = [name for name in summary["definitions"] if name not in _HIDDEN]
    shown = [name for name in _COLUMNS if name in known]
    shown += [name for name in known if name not in _COLUMNS]
    missing = [name for name in summary["not_computed"] if name not in _HIDDEN]
    rows = []
    for name, folder in summary["folders"].items():
        figures = summary["categories"][category][name] if category else folder["figures"]
        counts = [figures[figure]["n"] for figure in shown if figure in figures]
        cells = [(name, folder["controller"])]
        cells.append((str(max(counts)) if counts else "-", f"of {folder['images']}"))
        cells += [_cell(figure, figures.get(figure)) for figure in shown]
        cells += [("not computed", "")] * len(missing)
        rows.append(cells)
    names = [*shown, *missing]
    return ["folder", "compared", *(heading(name) for name in names)], rows


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
        mean, interval = _cell(entry["figure"], entry | {"mean": entry["mean_difference"]}, "+")
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
    return _COLUMNS.get(figure, (figure, ""))[0]


def _cell(figure: str, values: dict[str, Any] | None, sign: str = "") -> tuple[str, str]:
    if not values or values["mean"] is None:
        return "-", ""
    text = _COLUMNS.get(figure, ("", "{:.4g}"))[1].replace("{:", "{:" + sign)
    low_high = values["ci95"]
    interval = f"[{text.format(low_high[0])}, {text.format(low_high[1])}]" if low_high else ""
    return text.format(values["mean"]), interval
