"""Hyper-parameters of PPO by optuna, on a table of decisions, chosen on validation prompts.

    python -m benchmarks.sweep_ppo --config configs/train/ppo_table.yaml --trials 20

The file gives table, prompts, environment and what is not swept; names are those of RL Zoo. Trials
are kept in `--run-dir`, so that the same command goes on where it was stopped. Needs optuna
(`pip install prunegym[sweep]`).
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna

from agents.ppo import train
from agents.ppo_settings import TrainSettings
from benchmarks.record import record
from commands.train import make_parser
from commands.wiring import load_generator, load_prompts, make_requests
from envs.references import ReferenceCache


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """One point of the search space."""
    wide = {"64": (64, 64), "128": (128, 128), "64x64x64": (64, 64, 64)}
    return {
        "learning_rate": trial.suggest_float("learning_rate", 2e-4, 5e-3, log=True),
        "batch_size": trial.suggest_categorical("batch_size", [128, 256, 512, 1024]),
        "num_epochs": trial.suggest_categorical("n_epochs", [4, 10, 20]),
        "gae_lambda": trial.suggest_categorical("gae_lambda", [0.9, 0.95, 1.0]),
        "clip_range": trial.suggest_categorical("clip_range", [0.1, 0.2, 0.3]),
        "entropy_coefficient": trial.suggest_float("ent_coef", 1e-4, 3e-2, log=True),
        "rollout_episodes": trial.suggest_categorical("rollout_episodes", [2, 4, 8]),
        "net_arch": wide[trial.suggest_categorical("net_arch", list(wide))],
    }


def main() -> None:
    """Run the trials, print the best, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="configs/train/ppo_table.yaml")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--episodes", type=int, default=8000, help="of each trial")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/sweep_ppo"))
    parser.add_argument("--table", help="another one than the file's")
    options = parser.parse_args()
    arguments = ["--config", options.config]
    arguments += ["--generator", f"table:{options.table}"] if options.table else []
    train_parser = make_parser()
    config = train_parser.instantiate(train_parser.parse_args(arguments))
    generator = load_generator(config.generator)
    requests, validation = (
        make_requests(generator, load_prompts(text))
        for text in (config.prompts, config.evaluation_prompts)
    )

    def objective(trial: optuna.Trial) -> float:
        ppo = replace(config.ppo, total_episodes=options.episodes, **suggest(trial))
        settings = TrainSettings(config.environment, ppo, config.seed, evaluate_every=10**9)
        folder = options.run_dir / f"trial_{trial.number}"
        result = train(
            generator, requests, validation, settings, folder, reference_cache=ReferenceCache()
        )
        trial.set_user_attr("evaluation", result.evaluations[-1])
        return result.evaluations[-1]["return"]

    options.run_dir.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name="ppo",
        storage=f"sqlite:///{options.run_dir}/trials.db",
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=8),
    )
    # what the file says is the first trial, in RL Zoo's names
    ppo = config.ppo
    study.enqueue_trial(
        {
            "learning_rate": ppo.learning_rate,
            "batch_size": ppo.batch_size,
            "n_epochs": ppo.num_epochs,
            "gae_lambda": ppo.gae_lambda,
            "clip_range": ppo.clip_range,
            "ent_coef": ppo.entropy_coefficient,
            "rollout_episodes": ppo.rollout_episodes,
            "net_arch": "64",
        },
        skip_if_exists=True,
    )
    done = len([t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE])
    study.optimize(objective, n_trials=max(0, options.trials - done))
    finished = [t for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    figures = {
        "config": options.config,
        "generator": config.generator,
        "fingerprint": generator.fingerprint,
        "episodes_of_a_trial": options.episodes,
        "objective": f"return at the end on {config.evaluation_prompts}, mean over the weights"
        + (", each divided by its weight" if config.ppo.in_compute else ""),
        "best": {"value": study.best_value, "parameters": study.best_params},
        "trials": [
            {"number": t.number, "value": t.value, "parameters": t.params, **t.user_attrs}
            for t in sorted(finished, key=lambda t: -(t.value or 0))
        ],
    }
    record("sweep_ppo", figures)


if __name__ == "__main__":
    main()
