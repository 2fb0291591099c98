"""Compare folders of images: Original, a fixed schedule (FAST), an agent (RL), or any others.

Run as `python -m eval.evaluate_agent --orig A --fast B --rl C`; `prunegym evaluate` is the same.
"""

from pathlib import Path

import torch
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.text import Text

from base.errors import ConfigError, PrunegymError, ResourceError, StrictError
from eval.comparison import Comparison, plan_comparison, require_overlap
from eval.console import progress_bar, show
from eval.evaluation import evaluate
from eval.folders import LAYOUTS
from eval.metrics.lpips import TRUNK_FILES
from eval.metrics.registry import METRICS, MetricSettings, make_metrics
from eval.metrics.ssim import WINDOW_SIDES
from eval.report import write_report
from eval.scoring import CHOICES, ScoringSettings
from eval.summary import PAIRINGS, SummarySettings
from eval.tables import write_tables

DEFAULT_METRICS = "ssim,psnr,lpips,clip"
INTERRUPTED = 130
_SCORING_HELP = {
    "alpha": "what happens to transparency",
    "on_size_mismatch": "a candidate of another size than Original",
    "resize_filter": "how a candidate is resized",
    "on_bad_image": "a file that cannot be decoded",
}


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


def make_parser() -> ArgumentParser:
    """The options. Each can also stand in a YAML file given by `--config`."""
    parser = ArgumentParser(
        prog="prunegym evaluate",
        description="Compare folders of images with an Original folder, image by image.",
    )
    add = parser.add_argument
    add("--config", action="config", help="YAML file with any of these options")
    add("--orig", type=str, required=True, help="folder of images made with nothing pruned")
    add("--fast", type=str | None, help="folder of a fixed schedule: the candidate FAST")
    add("--rl", type=str | None, help="folder of an agent: the candidate RL")
    add("--candidate", action="append", metavar="NAME=DIR", help="any other; repeatable")
    add("--out", type=str, default="evaluation", help="folder for tables and report")
    add("--metrics", type=str, default=DEFAULT_METRICS, help=f"some of {','.join(METRICS)}")
    add("--ssim", choices=list(WINDOW_SIDES), default="gaussian11", help="window of SSIM")
    add("--lpips-net", choices=list(TRUNK_FILES), default="alex", help="trunk of LPIPS")
    add("--lpips-trunk", type=str, default="auto", help="auto, stand-in, or a file of weights")
    add("--clip-model", type=Path | None, help="folder of an open_clip model")
    add("--device", type=str, default="auto", help="auto, cpu or cuda")
    add("--batch-size", type=int, default=32, help="images of a folder in memory at once")
    add("--workers", type=int, default=2, help="threads that decode images")
    for name, text in _SCORING_HELP.items():
        default = getattr(ScoringSettings, name)
        add(f"--{name.replace('_', '-')}", choices=list(CHOICES[name]), default=default, help=text)
    add("--layout", choices=list(LAYOUTS), default="auto", help="flat, or gen_images_<id>/1.<ext>")
    add(
        "--paired", choices=list(PAIRINGS), default="intersection", help="images that means rest on"
    )
    add("--bootstrap", type=int, default=1000, help="resamples for 95 %% intervals; 0 for none")
    add("--seed", type=int, default=0, help="seed of the resampling")
    add("--strict", action="store_true", help="exit 4 unless every image has every figure")
    add("--allow-mismatch", action="store_true", help="compare other fingerprints or seeds too")
    add("--legacy-outputs", action="store_true", help="write evaluation_results.csv as well")
    return parser


def run(options: Namespace, shipped_clip: Path | None = None) -> int:
    """Compare, write and show, as the options say. Returns the exit code; raises its errors."""
    console = Console()
    comparison = plan_comparison(
        options.orig,
        _candidates(options),
        layout=options.layout,
        allow_mismatch=options.allow_mismatch,
    )
    require_overlap(comparison)
    out = _prepared(Path(options.out), comparison)
    device = _device(options.device)
    metrics, not_computed = make_metrics(
        [name.strip() for name in options.metrics.split(",") if name.strip()],
        MetricSettings(
            ssim_window=options.ssim,
            lpips_net=options.lpips_net,
            lpips_trunk=options.lpips_trunk,
            clip_model=options.clip_model,
            shipped_clip=shipped_clip,
            device=device,
        ),
    )
    chosen = {name: getattr(options, name) for name in (*CHOICES, "batch_size", "workers")}
    with progress_bar(console) as progress:
        task = progress.add_task("images", total=len(comparison.keys))
        evaluation = evaluate(
            comparison,
            metrics,
            ScoringSettings(device=device, **chosen),
            SummarySettings(options.paired, options.bootstrap, options.seed),
            not_computed,
            on_progress=lambda images: progress.advance(task, images),
        )
    write_tables(evaluation, out, options.legacy_outputs)
    report = write_report(evaluation, out)
    show(evaluation, console)
    console.print(Text(f"report: {report}"), soft_wrap=True)
    if not evaluation.complete:
        return INTERRUPTED
    if options.strict and (len(evaluation.skipped) or evaluation.summary["warnings"]):
        raise StrictError(
            f"--strict: {len(evaluation.skipped)} figures were not computed and there are "
            f"{len(evaluation.summary['warnings'])} warnings; see skipped.csv and the report"
        )
    return 0


def _candidates(options: Namespace) -> dict[str, str]:
    """The candidates by name, in the order FAST, RL, others."""
    named = [("FAST", options.fast), ("RL", options.rl)]
    for text in options.candidate or []:
        name, equals, path = text.partition("=")
        if not (name and equals and path):
            raise ConfigError(f"--candidate is {text!r}; expected NAME=DIR")
        named.append((name, path))
    candidates = {name: path for name, path in named if path}
    if len(candidates) < len([path for _, path in named if path]):
        raise ConfigError(f"two candidates have the same name: {[name for name, _ in named]}")
    if not candidates:
        raise ConfigError("nothing to compare with; give --fast, --rl or --candidate NAME=DIR")
    return candidates


def _prepared(out: Path, comparison: Comparison) -> Path:
    """Make the folder of results before hours of work, and not among the images."""
    if any(out.resolve() == folder.path.resolve() for folder in comparison.folders.values()):
        raise ConfigError(f"--out is {out}, a folder of images; choose another one")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out is {out}, where no folder can be made: {error}") from None
    return out


def _device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.split(":")[0] not in ("cpu", "cuda"):
        raise ConfigError(f"--device is {device!r}; expected auto, cpu or cuda")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("--device is cuda, but this machine has no usable CUDA device; use cpu")
    return device


if __name__ == "__main__":
    from commands.evaluate import main as with_shipped_weights

    raise SystemExit(with_shipped_weights())
