"""The commands on a small random Infinity: a folder with a checkpoint, as a user would name it."""

import json

import numpy as np
import pytest

from agents.interruption import StopRequest
from agents.tensor_record import read_tensor_record
from base.errors import CheckpointError, ConfigError
from commands import calibrate, generate, train
from tests.infinity_backend.tiny import PROMPTS, tiny_pipeline

LAST = "6x6"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("infinity")
    tiny_pipeline().save_pretrained(path / "model")
    (path / "prompts.txt").write_text("\n".join(PROMPTS))
    records = [{"prompt": prompt, "seed": 100 + n} for n, prompt in enumerate(PROMPTS[::-1])]
    (path / "held_out.json").write_text(json.dumps(records))
    return path


def train_into(folder, run_dir, *more):
    options = {
        "--generator": folder / "model",
        "--prompts": folder / "prompts.txt",
        "--evaluation-prompts": folder / "held_out.json",
        "--run-dir": run_dir,
        "--ppo.total_episodes": 32,
        "--ppo.num_envs": 4,
        "--ppo.batch_size": 32,
        "--ppo.num_epochs": 2,
        "--evaluate-every": 2,
    }
    return train.main([str(part) for pair in options.items() for part in pair] + list(more))


@pytest.fixture(scope="module")
def run_dir(folder):
    assert train_into(folder, folder / "run") == 0
    return folder / "run"


def generate_into(folder, out, controller):
    options = ["--generator", str(folder / "model"), "--prompts", str(folder / "held_out.json")]
    return generate.main([*options, "--out", str(out), "--controller", controller])


def test_resumed_training_ends_with_the_same_weights(folder, run_dir, tmp_path, monkeypatch):
    from agents import ppo

    class StopAfterTwo(StopRequest):
        rollouts = 0

        @property
        def requested(self):
            StopAfterTwo.rollouts += 1
            return StopAfterTwo.rollouts > 2

        @requested.setter
        def requested(self, value):
            pass

    monkeypatch.setattr(ppo, "StopRequest", StopAfterTwo)
    assert train_into(folder, tmp_path) == 130
    monkeypatch.undo()
    assert train_into(folder, tmp_path, "--resume") == 0
    record, _, digest = read_tensor_record(tmp_path, "checkpoint")
    expected_record, _, expected_digest = read_tensor_record(run_dir, "checkpoint")
    assert record == expected_record
    assert digest == expected_digest  # of weights, optimizer and random states


def test_folders_of_every_controller(folder, run_dir, tmp_path):
    controllers = {"none": "none", "skip": f"schedule:{LAST}:1", "learned": f"policy:{run_dir}"}
    metadata = {}
    for name, controller in controllers.items():
        assert generate_into(folder, tmp_path / name, controller) == 0
        metadata[name] = json.loads((tmp_path / name / "meta_data.json").read_text())
    for identifier, original in metadata["none"].items():
        skipped = metadata["skip"][identifier]
        assert original["cost_flops"] == original["full_cost_flops"]
        assert skipped["cost_flops"] < skipped["full_cost_flops"] == original["full_cost_flops"]
        assert skipped["decisions"][-1] == {"stage": LAST, "prune_ratio": 1.0, "guidance": True}
        assert len(metadata["learned"][identifier]["decisions"]) == 5


def test_unknown_scales_are_named_with_the_known_ones(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"'64' is not a stage.*1x1, 2x2, 3x3, 4x4, 6x6"):
        generate_into(folder, tmp_path, "schedule:64:0.5")


def test_a_policy_of_other_weights_is_refused(folder, run_dir, tmp_path):
    tiny_pipeline(seed=5).save_pretrained(tmp_path / "model")
    (tmp_path / "held_out.json").write_text((folder / "held_out.json").read_text())
    with pytest.raises(CheckpointError, match="fingerprint"):
        generate_into(tmp_path, tmp_path / "out", f"policy:{run_dir}")


def test_calibrated_milliseconds_enter_the_evaluation(folder, tmp_path):
    table = tmp_path / "latency.json"
    options = ["--generator", str(folder / "model"), "--prompts", str(folder / "prompts.txt")]
    assert calibrate.main([*options, "--repeats", "2", "--out", str(table)]) == 0
    rows = json.loads(table.read_text())["stages"]
    medians = {(row["stage"], row["decision"]["prune_ratio"]): row["median_ms"] for row in rows}
    assert medians[LAST, 1.0] < medians[LAST, 0.0]
    assert train_into(folder, tmp_path / "run", "--latency-table", str(table)) == 0
    evaluations = json.loads((tmp_path / "run" / "evaluations.json").read_text())
    assert all(np.isfinite(entry["latency_saved_ms"]) for entry in evaluations)
