"""`prunegym train`: teach a policy how much of each stage to compute."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser

from agents.constraint import ConstraintOptions
from agents.ppo_settings import EnvironmentOptions, PPOSettings, TrainSettings
from commands.environments import REWARD_FIGURES, named_scorers
from commands.wiring import choose_device, load_generator, load_prompts, load_scorers, make_requests


def make_parser() -> ArgumentParser:
    """Return the options of the command; a YAML file may set them all."""
    parser = ArgumentParser(prog="prunegym train", description=__doc__)
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file with these options")
    parser.add_argument("--run-dir", type=str, required=True, help="folder for all that comes out")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--generator", type=str, default="scenes", help="scenes, toy, table:FILE or a folder"
    )
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    parser.add_argument(
        "--prompts", type=str, default="scenes:train:512", help="file, or scenes:SPLIT:COUNT"
    )
    parser.add_argument(
        "--evaluation-prompts", type=str, default="scenes:validation:64", help="held out"
    )
    parser.add_argument(
        "--reference-folder",
        type=str | None,
        default=None,
        help="of unpruned images; by default in the run",
    )
    parser.add_argument(
        "--latency-table", type=str | None, default=None, help="written by prunegym calibrate"
    )
    parser.add_argument(
        "--metrics", type=list[str], default=[], help="at evaluations besides SSIM and PSNR"
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights, actions and order")
    parser.add_argument("--evaluate-every", type=int, default=10, help="rollouts")
    parser.add_argument("--checkpoint-every", type=int, default=1, help="rollouts")
    parser.add_class_arguments(EnvironmentOptions, "environment")
    parser.add_class_arguments(PPOSettings, "ppo")
    parser.add_argument(
        "--constraint",
        type=ConstraintOptions | None,
        default=None,
        help="keep a figure at a level and learn the weight of compute, instead of a preference",
    )
    parser.add_argument(
        "--prefix-folder",
        type=str | None,
        default=None,
        help="of states before the first decision; by default they are kept in memory only",
    )
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 130 if it was interrupted."""
    parser = make_parser()
    options = parser.instantiate(parser.parse_args(args))

    from agents.latency import latency_table_of
    from agents.ppo import Progress, train
    from commands.progress import progress_bar
    from envs.prefixes import PrefixCache
    from envs.references import ReferenceCache

    run_dir = Path(options.run_dir)
    settings = TrainSettings(
        environment=options.environment,
        ppo=options.ppo,
        seed=options.seed,
        evaluate_every=options.evaluate_every,
        checkpoint_every=options.checkpoint_every,
        constraint=options.constraint,
    )
    device = choose_device(options.device)
    generator = load_generator(options.generator, device)
    latency_table = latency_table_of(options.latency_table, generator)
    cache = ReferenceCache(options.reference_folder) if options.reference_folder else None
    if options.generator.startswith("table:"):
        cache = ReferenceCache()  # nothing to keep: a table knows the fidelity of every output
    with progress_bar() as bar:
        task = bar.add_task("training", total=settings.num_rollouts(), note="first evaluation")

        def show(progress: Progress) -> None:
            note = (
                f"return {progress.rollout.get('return', float('nan')):.3f}, "
                f"held out {progress.evaluation['return']:.3f}"
            )
            bar.update(task, completed=progress.rollouts, note=note)

        scorers = load_scorers(options.metrics, options.generator, device)
        result = train(
            generator,
            make_requests(generator, load_prompts(options.prompts)),
            make_requests(generator, load_prompts(options.evaluation_prompts)),
            settings,
            run_dir,
            resume=options.resume,
            scorers=scorers,
            latency_table=latency_table,
            reference_cache=cache,
            prefix_cache=PrefixCache(options.prefix_folder),
            environment_scorers=_needed_by_the_reward(settings, scorers),
            on_progress=show,
        )
    best = max(result.evaluations, key=lambda entry: entry["return"])
    print(f"trained {result.episodes} episodes, {result.steps} steps of the environment")
    print("best on held-out prompts: " + _describe(best))
    print(f"policy: {run_dir / 'best'}   tensorboard --logdir {run_dir / 'tensorboard'}")
    if not result.finished:
        again = list(sys.argv[1:] if args is None else args)
        again += [] if options.resume else ["--resume"]
        print(f"stopped on request; go on with: prunegym train {shlex.join(again)}")
        return 130
    return 0


def _needed_by_the_reward(settings: TrainSettings, scorers: Sequence[Any]) -> list[Any]:
    """The figures that have to be measured at every episode."""
    if settings.constraint is not None:
        return [scorer for scorer in scorers if scorer.name == settings.constraint.figure]
    return named_scorers(REWARD_FIGURES.get(settings.environment.reward, ()))


def _describe(evaluation: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in evaluation.items())
