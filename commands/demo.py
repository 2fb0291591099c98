"""`prunegym demo`: the main job on the small model, made of the other commands.

Train an agent, make the folders Original, FAST and RL for prompts it never saw, compare them, and
show the report. Every step is a command that can be run alone; the demo prints each one.
"""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from commands import evaluate, generate, train

CONFIG = Path(__file__).parents[1] / "configs" / "demo" / "scenes.yaml"
OTHER_SCHEDULES = {
    "skip_last": "8:1.0",
    "skip_last_two": "6:1.0,8:1.0",  # the strongest fixed rule at half of the compute
    "skip_last_three": "5:1.0,6:1.0,8:1.0",
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo; return 0, or 130 if it was interrupted (what was done stays)."""
    parser = ArgumentParser(prog="prunegym demo", description=__doc__)
    parser.add_argument("--out", type=str, default="runs/demo", help="folder for everything")
    parser.add_argument("--config", type=str, default=None, help="training settings (YAML)")
    parser.add_argument("--prompts", type=str, default="scenes:test:64", help="unseen in training")
    parser.add_argument(
        "--fast", type=str, default="5:0.4,6:0.5,8:1.0", help="schedule of the FAST folder"
    )
    options = parser.parse_args(args)
    out = Path(options.out)
    code = _train(out / "training", options.config or str(CONFIG))
    if code:
        return _stopped(out, code)
    folders = {
        "orig": "none",
        "fast": f"schedule:{options.fast}",
        "rl": f"policy:{out / 'training'}",
        **{f"others/{name}": f"schedule:{text}" for name, text in OTHER_SCHEDULES.items()},
    }
    for name, controller in folders.items():
        code = _run(
            generate.main,
            "generate",
            ["--controller", controller, "--prompts", options.prompts, "--out", str(out / name)],
        )
        if code:
            return _stopped(out, code)
    compared = ["--orig", "--fast", "--rl"]
    pairs = zip(compared, ("orig", "fast", "rl"), strict=True)
    arguments = [part for flag, name in pairs for part in (flag, str(out / name))]
    for name in OTHER_SCHEDULES:
        arguments += ["--candidate", f"{name}={out / 'others' / name}"]
    code = _run(evaluate.main, "evaluate", [*arguments, "--out", str(out / "report")])
    if code:
        return _stopped(out, code)
    print(f"\nreport       {out / 'report'}")
    print(f"learning     tensorboard --logdir {out / 'training' / 'tensorboard'}")
    return 0


def _train(run_dir: Path, config: str) -> int:
    """Train, go on with a training that was stopped, or keep one that is finished."""
    arguments = ["--config", config, "--run-dir", str(run_dir)]
    if (run_dir / "checkpoint.json").exists():
        arguments.append("--resume")
    return _run(train.main, "train", arguments)


def _run(command: Callable[[list[str]], int], name: str, arguments: list[str]) -> int:
    print(f"\n$ prunegym {name} {shlex.join(arguments)}", flush=True)
    return command(arguments)


def _stopped(out: Path, code: int) -> int:
    print(f"\nthe demo stopped; what was done is in {out}. Go on with: prunegym demo --out {out}")
    return code
