"""The report: one HTML page with its pictures inside, readable without a network."""

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from base.files import write_atomic
from eval.contact_sheet import draw_contact_sheet
from eval.decision_plot import draw_decisions
from eval.evaluation import Evaluation
from eval.extremes import draw_worst_and_best
from eval.headline import difference_tables, headline_table
from eval.plots import draw_quality_against_compute

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1320px; margin: 2em auto; padding: 0 1em;
       color: #191919 }
table { border-collapse: collapse; margin: 1em 0 }
th, td { padding: .35em .9em; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left }
small { color: #777 }
.warnings { background: #fff4e0; border-left: 4px solid #e69f00; padding: .5em 1em }
img { max-width: 100% }
dt { font-weight: 600 } dd { margin: 0 0 .5em 1em }
"""


def write_report(evaluation: Evaluation, folder: str | Path) -> Path:
    """Write `report.html` and the pictures in it as PNG files into a folder.

    A picture that cannot be drawn (nobody recorded what images cost, no image is in all folders)
    is left out, and an older one of that name is removed.

    Returns:
        The path of the page.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {}
    worst_to_best = f"From the worst to the best image of {evaluation.comparison.side_by_side[-1]}"
    for name, title, draw in (
        ("quality_against_compute.png", "Quality against compute", draw_quality_against_compute),
        ("decisions.png", "What was decided for each stage", draw_decisions),
        ("worst_and_best.png", "The worst and the best images", draw_worst_and_best),
        ("contact_sheet.png", worst_to_best, draw_contact_sheet),
    ):
        if draw(evaluation, folder / name):
            pictures[name] = _picture(title, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    page = _page(evaluation, pictures)
    return write_atomic(
        folder / "report.html", lambda target: target.write_text(page, encoding="utf-8")
    )


def _page(evaluation: Evaluation, pictures: Mapping[str, str]) -> str:
    summary = evaluation.summary
    headings, rows = headline_table(summary)
    cells = [[_strong_and_small(*cell) for cell in row] for row in rows]
    difference_headings, differences = difference_tables(summary, evaluation.comparison.candidates)
    parts = [
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'>",
        f"<title>Comparison of images</title><style>{_STYLE}</style></head><body>",
        "<h1>Comparison of images</h1>",
        _warnings(summary["warnings"]),
        _table(headings, cells),
        f"<p><small>Means with 95 % bootstrap intervals; pairing: {summary['paired']}.</small></p>",
        pictures.get("quality_against_compute.png", ""),
        *(
            f"<h2>{html.escape(pair)}, image by image</h2>"
            + _table(difference_headings, [[html.escape(c) for c in row] for row in rows])
            for pair, rows in differences.items()
        ),
        _categories(summary),
        *(pictures[name] for name in pictures if name != "quality_against_compute.png"),
        _definitions(summary),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part)


def _strong_and_small(value: str, note: str) -> str:
    return f"{html.escape(value)}<br><small>{html.escape(note)}</small>"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; headings are text, cells are HTML."""
    if not rows:
        return ""
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _warnings(warnings: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(warning)}</li>" for warning in warnings)
    return f"<div class='warnings'><ul>{items}</ul></div>" if items else ""


def _picture(title: str, path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    title = html.escape(title)
    return f"<h2>{title}</h2><img alt='{title}' src='data:image/png;base64,{data}'>"


def _categories(summary: dict[str, Any]) -> str:
    if not summary["categories"]:
        return ""
    rows = []
    for category in summary["categories"]:
        headings, found = headline_table(summary, category)
        rows += [[html.escape(category), *(_strong_and_small(*c) for c in row)] for row in found]
    table = _table(["category", *headings], rows)
    few = " open" if len(rows) <= 12 else ""
    return f"<h2>By category</h2><details{few}><summary>show</summary>{table}</details>"


def _definitions(summary: dict[str, Any]) -> str:
    items = [
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(figure['provenance'])}</dd>"
        for name, figure in summary["definitions"].items()
    ]
    items += [
        f"<dt>{html.escape(name)}: not computed</dt><dd>{html.escape(reason)}</dd>"
        for name, reason in summary["not_computed"].items()
    ]
    return f"<h2>What each figure is</h2><dl>{''.join(items)}</dl>"
