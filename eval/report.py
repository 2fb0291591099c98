"""The report: one HTML page with its pictures inside, readable without a network."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from base.files import write_atomic
from eval.category_plot import draw_categories
from eval.comparison import ORIGINAL
from eval.contact_sheet import draw_contact_sheet
from eval.decision_plot import draw_decisions
from eval.evaluation import Evaluation
from eval.extremes import draw_worst_and_best
from eval.headline import difference_tables, headline_table, shown_figures
from eval.html import folded, items, picture, table, terms, with_note
from eval.plots import draw_quality_against_compute
from eval.verdict import clear_winner, verdict

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1320px; margin: 2em auto; padding: 0 1em;
       color: #191919 }
table { border-collapse: collapse; margin: 1em 0 }
th, td { padding: .3em .9em; text-align: right; border-bottom: 1px solid #ddd; vertical-align: top }
th:first-child, td:first-child { text-align: left }
small, footer { color: #777 }
.wide { overflow-x: auto }
.verdict { background: #eef5fb; border-left: 4px solid #0072b2; padding: .5em 1em }
.warnings { background: #fff4e0; border-left: 4px solid #e69f00; padding: .5em 1em; margin: 1em 0 }
ul { margin: 0; padding-left: 1.2em }
img { max-width: 100% }
dt { font-weight: 600 } dd { margin: 0 0 .5em 1em }
"""
_MOST_COLUMNS = 6
_MOST_ROWS_UNFOLDED = 12


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
    for name, title, draw in (
        ("quality_against_compute", "Quality against compute", draw_quality_against_compute),
        ("categories", "Means of each category", draw_categories),
        ("decisions", "What was decided for each stage", draw_decisions),
        ("worst_and_best", "The worst and the best images", draw_worst_and_best),
        ("contact_sheet", "Images of all folders", draw_contact_sheet),
    ):
        path = folder / f"{name}.png"
        if draw(evaluation, path):
            pictures[name] = picture(title, path)
        else:
            path.unlink(missing_ok=True)
    page = _page(evaluation, pictures)
    return write_atomic(
        folder / "report.html", lambda target: target.write_text(page, encoding="utf-8")
    )


def _page(evaluation: Evaluation, pictures: Mapping[str, str]) -> str:
    summary = evaluation.summary
    last = evaluation.comparison.side_by_side[-1]
    sections = {
        "Quality against compute": pictures.get("quality_against_compute", ""),
        **_differences(evaluation),
        "By category": pictures.get("categories", "") + _categories(summary),
        "What was decided for each stage": pictures.get("decisions", "") + _decisions(summary),
        "The worst and the best images": pictures.get("worst_and_best", ""),
        f"From the worst to the best image of {last}": pictures.get("contact_sheet", ""),
        "Where the images came from": _origins(summary),
        "What each figure is": _definitions(summary),
    }
    parts = [
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'>",
        f"<title>Comparison of images</title><style>{_STYLE}</style></head><body>",
        "<h1>Comparison of images</h1>",
        items(verdict(evaluation), "verdict"),
        items(summary["warnings"], "warnings"),
        _headline(summary),
        *(f"<h2>{escape(title)}</h2>{content}" for title, content in sections.items() if content),
        _footer(evaluation.environment),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part)


def _headline(summary: dict[str, Any]) -> str:
    """The means: a row for each figure, or for each folder where those are many."""
    headings, rows = headline_table(summary)
    cells = [[with_note(*cell) for cell in row] for row in rows]
    for column, figure in enumerate(shown_figures(summary), start=2):
        winner = clear_winner(summary, figure)
        for row, folder in enumerate(summary["folders"]):
            if folder == winner:
                cells[row][column] = with_note(*rows[row][column], strong=True)
    if len(rows) > _MOST_COLUMNS:
        grid = table(headings, cells)
    else:
        names = [f"<b>{escape(name)}</b>" for name in headings]
        grid = table([""] * (1 + len(rows)), list(zip(names, *cells, strict=True)))
    notes = (
        f"Means with 95 % bootstrap intervals; pairing: {summary['paired']}. An arrow shows which "
        "way is better; bold is better than every other candidate, by intervals of the differences."
    )
    missing = ", ".join(map(escape, summary["not_computed"]))
    missing = f"<br>Not computed (why: at the end of the page): {missing}" * bool(missing)
    return f"{grid}<p><small>{notes}{missing}</small></p>"


def _differences(evaluation: Evaluation) -> dict[str, str]:
    headings, tables = difference_tables(evaluation.summary, evaluation.comparison.candidates)
    return {
        f"{pair}, image by image": table(headings, [[escape(c) for c in row] for row in rows])
        for pair, rows in tables.items()
    }


def _categories(summary: dict[str, Any]) -> str:
    rows: list[list[str]] = []
    headings: list[str] = []
    for category in summary["categories"]:
        headings, found = headline_table(summary, category)
        rows += [[escape(category), *(with_note(*cell) for cell in row)] for row in found]
    grid = table(["category", *headings], rows)
    return folded("all figures", grid, len(rows) <= _MOST_ROWS_UNFOLDED) if rows else ""


def _decisions(summary: dict[str, Any]) -> str:
    """The mean share that was left out of each stage, where all candidates have the same stages."""
    by_folder = {name: folder["decisions"] for name, folder in summary["folders"].items()}
    stages = list(dict.fromkeys(stage for found in by_folder.values() for stage in found))
    rows = [
        [
            escape(name),
            *(
                with_note(
                    f"{found[stage]['mean_ratio']:.0%}",
                    f"{found[stage]['histogram'][-1]:.0%} skip it",
                )
                if stage in found
                else "-"
                for stage in stages
            ),
        ]
        for name, found in by_folder.items()
        if found
    ]
    return folded("mean share left out of each stage", table(["", *stages], rows), False)


def _origins(summary: dict[str, Any]) -> str:
    rows = []
    for name, folder in summary["folders"].items():
        counts = ", ".join(f"{count} {status}" for status, count in folder["statuses"].items())
        origin = folder["fingerprint"] or "none recorded: cannot be checked"
        timed = folder["timed_on"] or "-"
        cells = [name, folder["path"], folder["controller"] or "-", origin, timed, counts]
        same = "-" if name == ORIGINAL else str(folder["identical_to_original"])
        rows.append([*map(escape, cells), same])
    headings = ["folder", "path", "controller", "fingerprint", "timed on", "images"]
    headings.append(f"identical to {ORIGINAL}")
    return table(headings, rows)


def _definitions(summary: dict[str, Any]) -> str:
    defined = [(name, figure["provenance"]) for name, figure in summary["definitions"].items()]
    missing = [(f"{name}: not computed", why) for name, why in summary["not_computed"].items()]
    return terms(defined + missing)


def _footer(environment: dict[str, Any]) -> str:
    text = (
        f"{environment['created']}, {environment['images_scored']} images measured in "
        f"{environment['seconds_of_scoring']} s on {environment['machine']}. Settings, versions "
        "and hashes of all inputs: environment.json. Definitions: docs/evaluation.md."
    )
    return f"<footer><p><small>{escape(text)}</small></p></footer>"
