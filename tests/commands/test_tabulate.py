"""From prompts to a table, and a policy that was trained on it and serves the generator itself."""

import json

import pytest

from base.errors import DataError
from commands import generate, tabulate, train


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


def test_prompts_that_are_not_tabulated_are_named(folder, tmp_path):
    (tmp_path / "other.txt").write_text("toy 2")
    with pytest.raises(DataError, match="'toy 2' with seed 0 is not among the 22 requests"):
        train_on_table(folder, tmp_path / "run", tmp_path / "other.txt")
