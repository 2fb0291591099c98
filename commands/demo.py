"""`prunegym demo`: the main job on a small model, made of the other commands.

Train an agent, make the folders Original, FAST and RL for prompts it never saw, compare them, and
show the report. Every step is a command that can be run alone; the demo prints each one. With
`--generator fourm` the model is the small 4M, which draws outlines first and then a picture: the
agent learns from a table of everything that it could decide, and which is made first.
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from base.errors import ConfigError
from commands import evaluate, generate, tabulate, train

CONFIGS = Path(__file__).parents[1] / "configs" / "demo"


@dataclass(frozen=True)
class Demo:
    """What differs between models.

    Attributes:
        generator: as `--generator` of the other commands takes it.
        config: training settings.
        fast: schedule of the FAST folder.
        others: the strongest fixed rules beside it, by name.
        table: options of `prunegym tabulate`, where the agent learns from a table.
    """

    generator: str
    config: Path
    fast: str
    others: Mapping[str, str]
    table: tuple[str, ...] = ()


DEMOS = {
    "infinity": Demo(
        "scenes",
        CONFIGS / "scenes.yaml",
        "5:0.4,6:0.5,8:1.0",
        {
            "skip_last": "8:1.0",
            "skip_last_two": "6:1.0,8:1.0",  # the strongest fixed rule at half of the compute
            "skip_last_three": "5:1.0,6:1.0,8:1.0",
        },
    ),
    "fourm": Demo(
        "scenes-fourm",
        CONFIGS / "fourm.yaml",
        "tail=[0,1,0,1,0]",
        {  # the best fixed rules that leave one, two, three and four of the picture's last steps
            "leave_one": "tail=[1,0,0,0,0]",
            "leave_two": "tail=[1,0,0,1,0]",
            "leave_three": "tail=[1,1,0,1,0]",
            "leave_four": "tail=[1,1,1,1,0]",
        },
        ("--num-stages", "5", "--menu", "[{prune_ratio: 0.0}, {prune_ratio: 1.0}]"),
    ),
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo; return 0, or 130 if it was interrupted (what was done stays)."""
    parser = ArgumentParser(prog="prunegym demo", description=__doc__)
    parser.add_argument("--generator", type=str, default="infinity", help=", ".join(DEMOS))
    parser.add_argument("--out", type=str, default="runs/demo", help="folder for everything")
    parser.add_argument("--config", type=str, default=None, help="training settings (YAML)")
    parser.add_argument("--prompts", type=str, default="scenes:test:64", help="unseen in training")
    parser.add_argument("--fast", type=str, default=None, help="schedule of the FAST folder")
    options = parser.parse_args(args)
    if options.generator not in DEMOS:
        raise ConfigError(f"--generator is {options.generator!r}; expected {' or '.join(DEMOS)}")
    demo = DEMOS[options.generator]
    out = Path(options.out)
    code = _train(demo, out, options.config or str(demo.config))
    if code:
        return _stopped(options, code)
    folders = {
        "orig": "none",
        "fast": f"schedule:{options.fast or demo.fast}",
        "rl": f"policy:{out / 'training'}",
        **{f"others/{name}": f"schedule:{text}" for name, text in demo.others.items()},
    }
    for name, controller in folders.items():
        common = ["--generator", demo.generator, "--prompts", options.prompts]
        arguments = ["--controller", controller, *common, "--out", str(out / name)]
        code = _run(generate.main, "generate", arguments)
        if code:
            return _stopped(options, code)
    arguments = [part for name in ("orig", "fast", "rl") for part in (f"--{name}", str(out / name))]
    for name in demo.others:
        arguments += ["--candidate", f"{name}={out / 'others' / name}"]
    code = _run(evaluate.main, "evaluate", [*arguments, "--out", str(out / "report")])
    if code:
        return _stopped(options, code)
    print(f"\nreport       {out / 'report'}")
    print(f"learning     tensorboard --logdir {out / 'training' / 'tensorboard'}")
    return 0


def _train(demo: Demo, out: Path, config: str) -> int:
    """Train, go on with a training that was stopped, or keep one that is finished."""
    arguments = ["--config", config, "--run-dir", str(out / "training")]
    if demo.table:
        table = out / "table.npz"
        if not table.exists():
            made = ["--generator", demo.generator, "--out", str(table), *demo.table]
            code = _run(tabulate.main, "tabulate", made)
            if code:
                return code
        arguments += ["--generator", f"table:{table}"]
    if (out / "training" / "checkpoint.json").exists():
        arguments.append("--resume")
    return _run(train.main, "train", arguments)


def _run(command: Callable[[list[str]], int], name: str, arguments: list[str]) -> int:
    print(f"\n$ prunegym {name} {shlex.join(arguments)}", flush=True)
    return command(arguments)


def _stopped(options: Any, code: int) -> int:
    again = f"prunegym demo --generator {options.generator} --out {options.out}"
    print(f"\nthe demo stopped; what was done is in {options.out}. Go on with: {again}")
    return code
