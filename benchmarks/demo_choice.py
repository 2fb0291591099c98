"""Settings for `prunegym demo`, compared on validation prompts.

    python -m benchmarks.demo_choice runs/tables/keep_skip.npz

Each setting changes some entries of `configs/demo/scenes.yaml` and trains on a table that holds the
outcomes of every keep-or-skip schedule, which the live environment gives as well. Measured: how far
the agent is above the best mix of fixed schedules (chosen on training prompts) at its own compute.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console

from agents.parse_controller import parse_controller
from agents.rollout import run_controller
from agents.search import all_schedules
from base.files import write_atomic
from benchmarks.record import FOLDER, record
from commands import train
from commands.wiring import load_prompts, make_requests
from envs.decision_table import load_table
from envs.tabulated import TableGenerator
from eval.front import Front, at_budgets, best_mix, oracle

CONFIG = FOLDER.parent / "configs" / "demo" / "scenes.yaml"
ONE_RULE = {"ppo": {"relative_to": "schedule:tail=[1,1,1]"}}
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"seed": 1},
    {"ppo": {"total_episodes": 10240}},
    {"ppo": {"total_episodes": 10240}, "prompts": "scenes:train:1000"},
    {"ppo": {"learning_rate": 0.002, "batch_size": 128}},
    ONE_RULE,
    *({"environment": {"preference": weight}} for weight in (0.03, 0.12, 0.18)),
)


def changed(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy of the configuration with these entries, two levels deep."""
    merged = dict(config)
    for name, value in changes.items():
        merged[name] = {**config[name], **value} if isinstance(value, dict) else value
    return merged


def measure(
    table: TableGenerator, config: dict[str, Any], mix: Front, best: Front
) -> dict[str, Any]:
    """Train once; the agent's compute, SSIM and PSNR on validation prompts beside the mix."""
    requests = make_requests(table, load_prompts("scenes:validation:384"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        write_atomic(path, lambda target: target.write_text(yaml.safe_dump(config)))
        train.main(["--config", str(path), "--run-dir", str(Path(folder) / "run")])
        agent = parse_controller(f"policy:{Path(folder) / 'run'}", table, requests[0])
        results = list(run_controller(table, agent, requests, 64))
    found = table.known_fidelity([result.output for result in results])
    compute = sum(1 - result.saved for result in results) / len(results)
    figures: dict[str, Any] = {"compute": compute}
    for name, values in found.items():
        rival, bound = (float(at_budgets(front, name, [compute])[0]) for front in (mix, best))
        figures[name] = {"agent": float(values.mean()), "mix": rival, "oracle": bound}
    return figures


def main() -> None:
    """Measure all settings, write `demo_choice.json`."""
    torch.set_num_threads(1)
    path = sys.argv[1]
    table = TableGenerator(load_table(path))
    fixed = all_schedules(table.table, make_requests(table, load_prompts("scenes:train:1000")))
    held_out = make_requests(table, load_prompts("scenes:validation:384"))
    schedules = all_schedules(table.table, held_out)
    mix, best = best_mix(fixed, schedules), oracle(schedules)
    config = {**yaml.safe_load(CONFIG.read_text()), "generator": f"table:{path}", "metrics": []}
    results = []
    for changes in SETTINGS:
        results.append({"changes": changes, **measure(table, changed(config, changes), mix, best)})
        Console().print(results[-1])
    figures = {"config": "configs/demo/scenes.yaml", "prompts": "scenes:validation:384"}
    Console().print(f"written to {record('demo_choice', {**figures, 'settings': results})}")


if __name__ == "__main__":
    main()
