"""Compare folders of images: Original, a fixed schedule (FAST), an agent (RL), or any others.

Run as `python -m eval.evaluate_agent --orig A --fast B --rl C`; `prunegym evaluate` is the same.
"""

from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console
from rich.text import Text

from base.errors import ConfigError, PrunegymError, ResourceError, StrictError
from eval.comparison import Comparison, plan_comparison, require_overlap
from eval.console import progress_bar, show
from eval.evaluation import evaluate
from eval.metrics.registry import MetricSettings, make_metrics
from eval.options import candidates_of, device_of, make_parser, pythons_of
from eval.report import write_report
from eval.scoring import CHOICES, ScoringSettings
from eval.sets import SET_FIGURES, make_set_metric
from eval.summary import SummarySettings
from eval.tables import write_tables

INTERRUPTED = 130
UNFINISHED = "unfinished.jsonl"


def main(args: list[str] | None = None, shipped_clip: Path | None = None) -> int:
    """Run the command.

    Args:
        args: the command line without the program's name; None takes that of the process.
        shipped_clip: the folder of the small CLIP that comes with the product, if it does.

    Returns:
        0 done; 2 wrong usage or a missing folder; 3 nothing matched or broken data; 4 refused by a
        strict rule; 5 no space; 130 interrupted (what was done is written).
    """
    options = make_parser().parse_args(args)
    errors = Console(stderr=True)
    try:
        return run(options, shipped_clip)
    except PrunegymError as error:
        errors.print(Text(f"{type(error).__name__}: {error}", style="bold red"), soft_wrap=True)
        return error.exit_code
    except OSError as error:  # most often a full disk
        errors.print(Text(f"ResourceError: {error}", style="bold red"), soft_wrap=True)
        return ResourceError.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED


def run(options: Namespace, shipped_clip: Path | None = None) -> int:
    """Compare, write and show, as the options say. Returns the exit code; raises its errors."""
    console = Console()
    comparison = plan_comparison(
        options.orig,
        candidates_of(options),
        layout=options.layout,
        allow_mismatch=options.allow_mismatch,
        timings=options.timings,
    )
    require_overlap(comparison)
    out = _prepared(Path(options.out), comparison)
    device = device_of(options)
    names = [name.strip() for name in options.metrics.split(",") if name.strip()]
    set_figures = [name for name in SET_FIGURES if name in names]
    metrics, not_computed = make_metrics(
        [name for name in names if name not in set_figures],
        MetricSettings(
            ssim_window=options.ssim,
            lpips_net=options.lpips_net,
            lpips_trunk=options.lpips_trunk,
            clip_model=options.clip_model,
            shipped_clip=shipped_clip,
            device=device,
            pythons=pythons_of(options),
        ),
    )
    set_metric, missing = make_set_metric(set_figures, device)
    not_computed |= missing
    chosen = {name: getattr(options, name) for name in (*CHOICES, "batch_size", "workers")}
    with progress_bar(console) as progress:
        task = progress.add_task("images", total=len(comparison.keys))
        evaluation = evaluate(
            comparison,
            metrics,
            ScoringSettings(device=device, **chosen),
            SummarySettings(options.paired, options.bootstrap, options.seed),
            not_computed,
            set_metric,
            journal=out / UNFINISHED,
            on_progress=lambda images: progress.advance(task, images),
        )
    write_tables(evaluation, out, options.legacy_outputs)
    report = write_report(evaluation, out)
    show(evaluation, console)
    console.print(Text(f"report: {report}"), soft_wrap=True)
    if not evaluation.complete:
        return INTERRUPTED
    (out / UNFINISHED).unlink()
    if evaluation.summary["contradictions"] and not options.allow_mismatch:
        raise StrictError(
            "\n".join(evaluation.summary["contradictions"])
            + f"\nThe figures are in {out}; pass --allow-mismatch to accept them."
        )
    if options.strict and (len(evaluation.skipped) or evaluation.summary["warnings"]):
        raise StrictError(
            f"--strict: {len(evaluation.skipped)} figures were not computed and there are "
            f"{len(evaluation.summary['warnings'])} warnings; see skipped.csv and the report"
        )
    return 0


def _prepared(out: Path, comparison: Comparison) -> Path:
    """Make the folder of results before hours of work, and not among the images."""
    if any(out.resolve() == folder.path.resolve() for folder in comparison.folders.values()):
        raise ConfigError(f"--out is {out}, a folder of images; choose another one")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out is {out}, where no folder can be made: {error}") from None
    return out


if __name__ == "__main__":
    from commands.evaluate import main as with_shipped_weights

    raise SystemExit(with_shipped_weights())
