"""From prompts to a table, and a policy that was trained on it and serves the generator itself."""

import json

import gymnasium
import numpy as np
import pytest

import envs.tabulate
import prunegym  # noqa: F401  registers the ids
from base.errors import CheckpointError, ConfigError, DataError
from commands import calibrate, generate, tabulate, train
from envs.decision_table import load_table
from envs.pruning_env import PruningEnv
from envs.tabulated import TableGenerator


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("table")
    # of the toy's requests, those with four stages
    for name, numbers in (("train", range(1, 49, 3)), ("held_out", range(301, 319, 3))):
        records = [{"prompt": f"toy {number}", "seed": number} for number in numbers]
        (path / f"{name}.json").write_text(json.dumps(records))
    prompts = [str(path / "train.json"), str(path / "held_out.json")]
    options = ["--generator", "toy", "--num-stages", "3", "--out", str(path / "toy.npz")]
    assert tabulate.main([*options, "--prompts", json.dumps(prompts)]) == 0
    return path


def train_on_table(folder, run_dir, prompts):
    options = {
        "--generator": f"table:{folder / 'toy.npz'}",
        "--prompts": prompts,
        "--evaluation-prompts": folder / "held_out.json",
        "--run-dir": run_dir,
        "--environment.preference": "[0.1, 0.9]",
        "--ppo.total_episodes": 64,
        "--ppo.num_envs": 8,
    }
    return train.main([str(part) for pair in options.items() for part in pair])


def test_a_policy_of_the_table_controls_the_generator(folder, capsys):
    assert train_on_table(folder, folder / "run", folder / "train.json") == 0
    assert not (folder / "run" / "references").exists()
    images = ["--generator", "toy", "--prompts", str(folder / "held_out.json")]
    for weight in ("", "@0.2"):
        out = str(folder / f"images{weight}")
        controller = f"policy:{folder / 'run'}{weight}"
        assert generate.main([*images, "--controller", controller, "--out", out]) == 0
    made = json.loads((folder / "images@0.2" / "meta_data.json").read_text())
    assert len(made) == 6
    assert all(entry["controller"].endswith("@0.2") for entry in made.values())


def test_a_weight_for_a_target(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PRUNEGYM_CACHE", str(tmp_path))
    assert train_on_table(folder, tmp_path / "run", folder / "train.json") == 0
    policy = ["--controller", f"policy:{tmp_path / 'run'}", "--generator", "toy"]
    options = [*policy, "--prompts", str(folder / "held_out.json")]
    calibration = ["--calibration-prompts", str(folder / "train.json")]
    out = tmp_path / "images"
    assert generate.main([*options, "--preference", "0.2", "--out", str(out)]) == 0
    made = json.loads((out / "meta_data.json").read_text())
    assert all(entry["controller"].endswith("run@0.2") for entry in made.values())
    for option, value in (("--target-saving", "0.05"), ("--min-ssim", "0.01")):
        arguments = [*options, *calibration, option, value, "--out", f"{out}{option}"]
        assert generate.main(arguments) == 0
        assert "on 16 calibration prompts it saves" in capsys.readouterr().out
    kept = json.loads((tmp_path / "run" / "calibration.json").read_text())
    assert len(kept) == 1
    with pytest.raises(ConfigError, match="does not reach saved"):
        generate.main([*options, *calibration, "--target-saving", "0.999", "--out", str(out)])
    for wrong in (["--preference", "0.2", "--min-ssim", "0.5"], ["--preference", "0.2"]):
        controller = policy[:2] if len(wrong) > 2 else ["--controller", "none"]
        with pytest.raises(ConfigError, match="expected one of them"):
            generate.main([*options[2:], *controller, *wrong, "--out", str(out)])


def test_prompts_that_are_not_tabulated_are_named(folder, tmp_path):
    (tmp_path / "other.txt").write_text("toy 2")
    with pytest.raises(DataError, match="'toy 2' with seed 0 is not among the 22 requests"):
        train_on_table(folder, tmp_path / "run", tmp_path / "other.txt")


def test_a_menu_of_ones_own_and_going_on_after_a_stop(tmp_path, monkeypatch):
    records = [{"prompt": f"toy {number}", "seed": number} for number in range(1, 19, 3)]
    (tmp_path / "prompts.json").write_text(json.dumps(records))
    menu = "[{prune_ratio: 0.0}, {prune_ratio: 0.5}, {prune_ratio: 1.0}]"
    options = ["--generator", "toy", "--num-stages", "2", "--menu", menu, "--batch-size", "2"]
    options += ["--prompts", str(tmp_path / "prompts.json")]
    whole, stopped = tmp_path / "whole.npz", tmp_path / "stopped.npz"
    assert tabulate.main([*options, "--out", str(whole)]) == 0

    grown = []

    def grow(*arguments):
        if len(grown) == stop_after:
            raise KeyboardInterrupt
        grown.append(arguments)
        return original(*arguments)

    original, stop_after = envs.tabulate._grow, 2
    monkeypatch.setattr(envs.tabulate, "_grow", grow)
    with pytest.raises(KeyboardInterrupt):
        tabulate.main([*options, "--out", str(stopped)])
    assert not stopped.exists()
    stop_after = 3  # of three batches, one is left
    assert tabulate.main([*options, "--out", str(stopped)]) == 0
    one, other = load_table(whole), load_table(stopped)
    assert [entry["prune_ratio"] for entry in one.decision_space.menu] == [0.0, 0.5, 1.0]
    np.testing.assert_array_equal(one.features, other.features)
    np.testing.assert_array_equal(one.costs, other.costs)
    np.testing.assert_array_equal(one.figures["ssim"], other.figures["ssim"])
    assert {path.name for path in tmp_path.iterdir()} == {
        "prompts.json",
        "whole.npz",
        "stopped.npz",
    }


def test_further_figures_of_every_image_and_which_way_is_better(tmp_path):
    out = tmp_path / "scenes.npz"
    menu = "[{prune_ratio: 0.0}, {prune_ratio: 1.0}]"
    options = ["--num-stages", "1", "--menu", menu, "--prompts", '["scenes:train:3"]']
    assert tabulate.main([*options, "--metrics", "[lpips, clip]", "--out", str(out)]) == 0
    table = TableGenerator(load_table(out))
    names = list(table.table.figures)
    assert names[:2] == ["ssim", "psnr"] and len(names) == 4
    (lpips,) = table.falling_figures
    assert "lpips" in lpips
    assert (table.table.figures[lpips][:, 0] == 0).all()  # nothing pruned
    assert (table.table.figures[lpips][:, 1] > 0).all()
    env = PruningEnv(
        table, table.table.requests, fidelity=lpips, preference=0.0, first_controlled_stage=6
    )
    env.reset(seed=0)
    _, reward, _, _, info = env.step(1)
    assert reward == pytest.approx(1 - info[lpips])


def test_a_table_that_knows_milliseconds_pays_in_them_like_the_generator(folder, tmp_path):
    latency, out = str(tmp_path / "latency.json"), str(tmp_path / "toy.npz")
    prompts = str(folder / "held_out.json")
    assert calibrate.main(["--generator", "toy", "--out", latency, "--repeats", "1"]) == 0
    options = ["--generator", "toy", "--num-stages", "3", "--prompts", json.dumps([prompts])]
    assert tabulate.main([*options, "--out", out, "--latency-table", latency]) == 0
    kinds = {"toy": latency, f"table:{out}": None}
    settings = {"prompts": prompts, "cost": "latency", "first_controlled_stage": 1}
    settings |= {"shuffle": False, "preference": 0.7}
    live, tabulated = (
        gymnasium.make(
            "prunegym/InfinityPruning-v0", generator=kind, latency_table=table, **settings
        )
        for kind, table in kinds.items()
    )
    for action in (0, 1, 2):
        live.reset(seed=0)
        tabulated.reset(seed=0)
        done = False
        while not done:
            _, reward, done, _, info = live.step(action)
            _, looked_up, _, _, known = tabulated.step(action)
            assert looked_up == pytest.approx(reward, abs=1e-12)
        assert known["latency_ms"] == pytest.approx(info["latency_ms"])
    with pytest.raises(ConfigError, match="needs a latency_table"):
        gymnasium.make(
            "prunegym/InfinityPruning-v0", generator=f"table:{folder / 'toy.npz'}", **settings
        )
    with pytest.raises(CheckpointError, match="not a latency table"):
        tabulate.main([*options, "--out", out, "--latency-table", prompts])
