"""The comparison on the toy: every method, the table, the picture and the swap test."""

import json

import pandas as pd
import pytest

from base.errors import CheckpointError, ConfigError
from commands import compare, train
from envs.decision_table import load_table

METHODS = {"all": ["none"], "half": ["schedule:tail=[0.5,0.5]"], "random": ["random:1"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("compare")
    # of the toy's requests, those with four stages
    for name, numbers in (("train", range(1, 241, 3)), ("test", range(3001, 3091, 3))):
        records = [{"prompt": f"toy {number}", "seed": number} for number in numbers]
        (path / f"{name}.json").write_text(json.dumps(records))
    options = {
        "--generator": "toy",
        "--prompts": path / "train.json",
        "--evaluation-prompts": path / "test.json",
        "--run-dir": path / "run",
        "--environment.preference": "[0.1, 0.5]",
        "--ppo.total_episodes": 640,
        "--evaluate-every": 100,
        "--ppo.num_epochs": 5,
        "--ppo.batch_size": 128,
        "--ppo.num_envs": 16,
    }
    assert train.main([str(part) for pair in options.items() for part in pair]) == 0
    return path


def run_compare(folder, out, **changes):
    options = {
        "generator": "toy",
        "out": str(out),
        "prompts": str(folder / "test.json"),
        "training_prompts": str(folder / "train.json"),
        "num_stages": 3,
        "methods": METHODS,
        "policies": {"PPO": str(folder / "run"), "two": [str(folder / "run")] * 2},
        "weights": [0.1, 0.3, 0.9],
        "resamples": 100,
        "swap_tolerance": 0.5,  # the few decisions of the toy differ much in cost
    }
    config = out.parent / f"{out.name}.json"
    config.write_text(json.dumps(options | changes))
    return compare.main(["--config", str(config)])


def test_all_methods_on_the_same_requests(folder, capsys):
    out = folder / "out"
    assert run_compare(folder, out) == 0
    result = json.loads((out / "comparison.json").read_text())
    methods = result["methods"]
    assert list(methods) == [
        "best mix",
        "best static",
        "oracle",
        "PPO",
        "two",
        "all",
        "half",
        "random",
    ]
    assert methods["all"]["points"][0]["compute"] == 1
    assert methods["all"]["points"][0]["ssim"] == 1
    assert [p["point"] for p in methods["PPO"]["points"]] == ["w=0.1", "w=0.3"]
    volumes = {name: method["ssim"]["hypervolume"] for name, method in methods.items()}
    assert volumes["oracle"] == max(volumes.values()) > volumes["best mix"] > volumes["random"]
    assert methods["oracle"]["ssim"]["recovered"] == pytest.approx(1)
    assert methods["best mix"]["ssim"]["recovered"] == pytest.approx(0)
    for row in methods["oracle"]["ssim"]["budgets"]:
        assert row["minus_mix"] is None or row["minus_mix"] > 0
    points = pd.read_csv(out / "points.csv")
    assert set(points["method"]) == set(methods)
    assert (out / "front.png").read_bytes().startswith(b"\x89PNG")
    assert methods["two"]["trainings"] == 2  # the same one twice: nothing changes but the count
    assert methods["two"]["ssim"] == methods["PPO"]["ssim"]
    swap = result["swap_test"]["PPO"][0]["all_points"]
    assert swap["requests"] > 0
    assert abs(swap["compute_difference"]) < 0.5
    assert "swap test of PPO" in capsys.readouterr().out


def test_the_table_is_made_once(folder):
    out = folder / "again"
    assert run_compare(folder, out, policies={}) == 0
    made = (out / "table.npz").stat().st_mtime_ns
    first = (out / "comparison.json").read_text()
    assert run_compare(folder, out, policies={}) == 0
    assert (out / "table.npz").stat().st_mtime_ns == made
    assert (out / "comparison.json").read_text() == first


def test_another_seed_makes_a_table_of_its_own(folder, capsys):
    """The table of the shipped configurations has one seed; `--seed` is still free."""
    (folder / "prompts.txt").write_text("\n".join(f"toy {n}" for n in range(3001, 3031, 3)))
    common = {"policies": {}, "methods": {}, "prompts": str(folder / "prompts.txt")}
    given = folder / "given.npz"
    assert run_compare(folder, folder / "seed0", table=str(given), **common) == 0
    before = given.read_bytes()
    changed = {"seed": 1, "num_stages": 1}
    assert run_compare(folder, folder / "seed1", table=str(given), **common, **changed) == 0
    said = capsys.readouterr().out
    assert f"{given} lacks 10 of these 90 requests" in said
    assert "rule by class" in said, "these prompts have no category"
    assert given.read_bytes() == before
    assert load_table(folder / "seed1" / "table.npz").depth == 3, "the schedules of the given table"


def test_what_cannot_be_used_is_refused_before_anything_is_made(folder):
    with pytest.raises(ConfigError, match=r"budgets are \[0.5, 3.0\]; expected shares"):
        run_compare(folder, folder / "budgets", budgets=[0.5, 3.0])
    with pytest.raises(CheckpointError, match=r"no policy\.json in nowhere"):
        run_compare(folder, folder / "policies", policies={"PPO": "nowhere"})
    assert not (folder / "policies").exists()


def test_rules_are_not_chosen_on_what_is_measured(folder):
    with pytest.raises(ConfigError, match="30 prompts are in --prompts and in"):
        run_compare(folder, folder / "same", training_prompts=str(folder / "test.json"))


def test_a_rule_that_looks_at_pictures_is_run_on_the_model(tmp_path):
    """A table has no pictures; the rule's figures come from the model itself."""
    options = {
        "generator": "scenes",
        "out": str(tmp_path / "out"),
        "prompts": "scenes:validation:6",
        "training_prompts": "scenes:train:6",
        "table": str(tmp_path / "table.npz"),
        "num_stages": 1,
        "methods": {"SkipVAR": ["skipvar"]},
        "resamples": 20,
    }
    (tmp_path / "config.json").write_text(json.dumps(options))
    assert compare.main(["--config", str(tmp_path / "config.json")]) == 0
    methods = json.loads((tmp_path / "out" / "comparison.json").read_text())["methods"]
    assert "best of the class" in methods  # scenes have categories
    assert 0 < methods["SkipVAR"]["points"][0]["compute"] <= 1.2
