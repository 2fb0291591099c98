"""The options of the command that compares folders."""

from pathlib import Path

import torch
from jsonargparse import ArgumentParser, Namespace

from base.errors import ConfigError
from eval.folders import LAYOUTS
from eval.metrics.lpips import TRUNK_FILES
from eval.metrics.registry import METRICS
from eval.metrics.reward_worker import REWARDS
from eval.metrics.ssim import WINDOW_SIDES
from eval.scoring import CHOICES, ScoringSettings
from eval.sets import SET_FIGURES
from eval.summary import PAIRINGS

DEFAULT_METRICS = "ssim,psnr,lpips,clip"
_SCORING_HELP = {
    "alpha": "what happens to transparency",
    "on_size_mismatch": "a candidate of another size than Original",
    "resize_filter": "how a candidate is resized",
    "on_bad_image": "a file that cannot be decoded",
}


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
    names = ",".join([*METRICS, *REWARDS, *SET_FIGURES])
    add("--metrics", type=str, default=DEFAULT_METRICS, help=f"some of {names}, or a plug-in's")
    add(
        "--metric-python",
        action="append",
        metavar="NAME=FILE",
        help="Python of the environment that has the package of a learned reward; repeatable",
    )
    add("--timings", type=str, default="auto", help="CSV or JSON of milliseconds; or auto")
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


def candidates_of(options: Namespace) -> dict[str, str]:
    """The candidates by name, in the order FAST, RL, others."""
    named = [("FAST", options.fast), ("RL", options.rl)]
    named += _pairs("--candidate", "NAME=DIR", options.candidate)
    candidates = {name: path for name, path in named if path}
    if len(candidates) < len([path for _, path in named if path]):
        raise ConfigError(f"two candidates have the same name: {[name for name, _ in named]}")
    if not candidates:
        raise ConfigError("nothing to compare with; give --fast, --rl or --candidate NAME=DIR")
    return candidates


def pythons_of(options: Namespace) -> dict[str, str]:
    """The Python of each learned reward that one was given for."""
    return dict(_pairs("--metric-python", "NAME=FILE", options.metric_python))


def _pairs(option: str, form: str, texts: list[str] | None) -> list[tuple[str, str]]:
    pairs = []
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise ConfigError(f"{option} is {text!r}; expected {form}")
        pairs.append((name, value))
    return pairs


def device_of(options: Namespace) -> str:
    """`cpu` or `cuda`, as asked for and as this machine has it."""
    device = options.device
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.split(":")[0] not in ("cpu", "cuda"):
        raise ConfigError(f"--device is {device!r}; expected auto, cpu or cuda")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("--device is cuda, but this machine has no usable CUDA device; use cpu")
    return device
