"""What a person sees in the terminal: progress, and the table of results."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft
from rich.table import Table
from rich.text import Text

from eval.evaluation import Evaluation
from eval.headline import difference_tables, headline_table
from eval.verdict import verdict


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Keys per second."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


def progress_bar(console: Console) -> Progress:
    """A bar with counts, rate and time left."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate()
    return Progress(*columns, TimeLeft(), console=console)


def show(evaluation: Evaluation, console: Console) -> None:
    """Print warnings, what the figures say, means, differences, and what was not computed."""
    summary = evaluation.summary
    for warning in summary["warnings"]:
        console.print(Text(f"warning: {warning}", style="yellow"), soft_wrap=True)
    for sentence in verdict(evaluation):
        console.print(Text(sentence), soft_wrap=True)
    headings, folders = headline_table(summary)
    few = len(folders) <= 4
    cells = [[f"{value}\n{note}" if note and few else value for value, note in r] for r in folders]
    (corner, *names), *rows = zip(headings, *cells, strict=True)  # narrow: a column for each folder
    title = "Means, with 95 % intervals" if few else "Means (intervals in the report)"
    console.print(_table(title, [corner, *names], rows))
    headings, differences = difference_tables(summary, evaluation.comparison.side_by_side)
    for pair, lines in differences.items():
        console.print(_table(f"{pair}, image by image", headings, lines))
    seconds, images = (evaluation.environment[n] for n in ("seconds_of_scoring", "images_scored"))
    rate = f"{images} images in {seconds:.1f} s, {images / max(seconds, 1e-9):.1f} images/s"
    console.print(Text(rate), soft_wrap=True)
    for name, figure in summary["definitions"].items():
        if name.endswith(("_standin", "_scenes")):
            console.print(Text(f"{name}: {figure['provenance']}"), soft_wrap=True)
    for name, reason in summary["not_computed"].items():
        console.print(Text(f"{name}: not computed: {reason}", style="yellow"), soft_wrap=True)


def _table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=Text(title), title_justify="left")
    for index, heading in enumerate(headings):
        table.add_column(Text(heading), justify="right" if index else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # as text: names may hold rich's brackets
    return table
