"""`prunegym compare`: all methods on the same held-out requests, against the best fixed rules.

Writes `comparison.json`, `points.csv` and `front.png` into `--out`. Every schedule of the table is
a point, from which follow the best static schedules and the best random mix of them (chosen on
training prompts) and the oracle (the best schedule of each request). For each method: fidelity at
equal compute, its distance to the mix, the share of the gap between mix and oracle that it
recovers, hypervolume, and for policies the swap test (each request gets the decisions that were
chosen for another one of about equal cost).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser

from agents.prompts import PromptRecord
from commands.wiring import choose_device, load_generator, load_prompts, make_requests


def make_parser() -> ArgumentParser:
    """Return the options of the command; a YAML file may set them all."""
    parser = ArgumentParser(prog="prunegym compare", description=__doc__)
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file with these options")
    parser.add_argument("--out", type=str, default="runs/compare", help="folder for the results")
    parser.add_argument("--generator", type=str, default="scenes", help="scenes, toy or a folder")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--prompts", type=str, default="scenes:test:128", help="to measure on; held out"
    )
    parser.add_argument(
        "--training-prompts", type=str, default="scenes:train:256", help="to choose fixed rules on"
    )
    parser.add_argument(
        "--table",
        type=str | None,
        default=None,
        help="that holds both, from prunegym tabulate; where it is missing or lacks some, one is "
        "made in --out",
    )
    parser.add_argument("--num-stages", type=int, default=4, help="of a table that is made")
    parser.add_argument(
        "--schedules",
        type=list[str],
        default=[],
        help="fixed controllers that stand for all schedules where requests have too many stages, "
        "or unequally many, for a table; the oracle is then the best of these for each request",
    )
    parser.add_argument(
        "--methods", type=dict[str, list[str]], default={}, help="controllers, by name of method"
    )
    parser.add_argument(
        "--policies",
        type=dict[str, str | list[str]],
        default={},
        help="run folders, by name of method; several are trainings of one method",
    )
    parser.add_argument(
        "--weights",
        type=list[float],
        default=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
        help="of compute; those that a policy was trained for are its points",
    )
    parser.add_argument(
        "--budgets",
        type=list[float],
        default=[0.3, 0.4, 0.5, 0.6, 0.7, 0.8],
        help="shares of the full cost at which methods are compared",
    )
    parser.add_argument(
        "--swap-tolerance", type=float, default=0.15, help="in cost, between swapped requests"
    )
    parser.add_argument("--seed", type=int, default=0, help="of prompts without one, and resamples")
    parser.add_argument("--resamples", type=int, default=1000, help="for intervals")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0."""
    options = make_parser().parse_args(args)

    from agents.comparison import Bench, Measured, swap_test
    from agents.search import all_schedules
    from base.errors import ConfigError
    from base.files import write_atomic, write_json
    from commands.comparison_table import find_or_make_table
    from commands.show_comparison import show
    from envs.references import ReferenceCache
    from eval.front import best_mix, best_static, oracle, resample_weights
    from eval.front_plot import draw_fronts
    from eval.front_summary import summarise_front, table_of_points

    out = Path(options.out)
    own = out / "table.npz"
    device = choose_device(options.device)
    generator = load_generator(options.generator, device)
    if not all(0 < budget <= 1 for budget in options.budgets):
        raise ConfigError(
            f"budgets are {options.budgets}; expected shares of the full cost, above 0 and up to 1"
        )
    folders = {
        name: [given] if isinstance(given, str) else given
        for name, given in options.policies.items()
    }
    points = {
        name: [_policy_points(folder, options.weights, generator) for folder in several]
        for name, several in folders.items()
    }
    prompts = load_prompts(options.prompts, options.seed)
    training_prompts = load_prompts(options.training_prompts, options.seed)
    common = {p.prompt for p in prompts} & {p.prompt for p in training_prompts}
    if common:
        raise ConfigError(
            f"{len(common)} prompts are in --prompts and in --training-prompts, such as "
            f"{min(common)!r}; measure on prompts that nothing was chosen on"
        )
    cache = ReferenceCache()
    requests = make_requests(generator, prompts)
    if options.schedules:
        bench = Bench(generator, None, requests, cache)
        listed = _controllers(options.schedules, generator, requests[0])
        schedules = bench.measure("all schedules", listed).front
        chosen_on = Bench(generator, None, make_requests(generator, training_prompts), cache)
        training = chosen_on.measure("all schedules", listed).front
        compared_with: dict[str, Any] = {"schedules": options.schedules}
    else:
        table = find_or_make_table(
            [Path(options.table or own), own],
            generator,
            make_requests(generator, [*training_prompts, *prompts]),
            cache,
            options.num_stages,
        )
        bench = Bench(generator, table, requests, cache)
        schedules = all_schedules(table.table, bench.looked_up)
        training = all_schedules(table.table, make_requests(table, training_prompts))
        compared_with = {
            "first_stage_of_the_table": table.first_stage,
            "menu": [dict(decision) for decision in table.decision_space.menu],
        }
    mix, bound = best_mix(training, schedules), oracle(schedules)
    weights = resample_weights(len(prompts), options.resamples, options.seed)
    fixed: dict[str, Measured] = {}
    for name, texts in options.methods.items():
        fixed[name] = bench.measure(name, _controllers(texts, generator, bench.requests[0]))
    policies = {
        name: [bench.measure(name, each) for each in several] for name, several in points.items()
    }

    by_class = _by_class(training, training_prompts, schedules, prompts)
    fronts = {
        mix.name: [mix],
        "best static": [best_static(training, schedules)],
        **by_class,
        bound.name: [bound],
        **{name: [measured.front for measured in several] for name, several in policies.items()},
        **{name: [measured.front] for name, measured in fixed.items()},
    }
    summaries = {
        name: summarise_front(several, mix, bound, options.budgets, weights)
        for name, several in fronts.items()
    }
    swaps = {
        name: [
            swap_test(bench, each, options.swap_tolerance, options.resamples, options.seed)
            for each in several
        ]
        for name, several in policies.items()
    }
    result = {
        "generator": options.generator,
        "fingerprint": generator.fingerprint,
        "prompts": options.prompts,
        "num_prompts": len(prompts),
        "training_prompts": options.training_prompts,
        **compared_with,
        "seed": options.seed,
        "resamples": options.resamples,
        "policies": dict(options.policies),
        "methods": summaries,
        "swap_test": swaps,
    }
    write_json(out / "comparison.json", result)
    rows = table_of_points(summaries)
    write_atomic(out / "points.csv", lambda target: rows.to_csv(target, index=False))
    curves = [fronts[name] for name in (bound.name, *policies, *by_class)]
    lone = [measured.front for measured in fixed.values()]
    draw_fronts(mix, curves, lone, mix.primary, weights, out / "front.png")
    show(summaries, swaps, mix.primary)
    print(f"table, points and picture: {out}")
    return 0


def _by_class(
    training: Any,
    training_prompts: Sequence[PromptRecord],
    schedules: Any,
    prompts: Sequence[PromptRecord],
) -> dict[str, list[Any]]:
    """The rule by category of the prompt, where prompts have categories."""
    from eval.front import best_by_class

    if any(record.category is None for record in (*training_prompts, *prompts)):
        print("left out: the rule by class of the prompt, since not all prompts have a category")
        return {}
    classes = [[str(r.category) for r in records] for records in (training_prompts, prompts)]
    front = best_by_class(training, classes[0], schedules, classes[1])
    return {front.name: [front]}


def _controllers(texts: Sequence[str], generator: Any, request: Any) -> dict[str, Any]:
    from agents.parse_controller import parse_controller

    return {text: parse_controller(text, generator, request) for text in texts}


def _policy_points(folder: str, weights: Sequence[float], generator: Any) -> dict[str, Any]:
    """The policy at each of these weights that it was trained for; at its only one otherwise."""
    from agents.policy_controller import load_policy_controller

    middle = load_policy_controller(f"policy:{folder}", Path(folder), generator)
    low, high = middle.preference_range
    if low == high:
        return {f"w={low:g}": middle}
    return {
        f"w={weight:g}": load_policy_controller(
            f"policy:{folder}@{weight:g}", Path(folder), generator, weight
        )
        for weight in weights
        if low <= weight <= high
    } or {f"w={middle.preference:g}": middle}
