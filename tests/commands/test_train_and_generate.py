"""The commands on the toy generator: train, generate under each controller, calibrate."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agents.image_folder import ImageFolder
from agents.latency import LatencyTable
from base.errors import CheckpointError, ConfigError, DataError
from commands import calibrate, generate, train
from commands.wiring import choose_device, load_generator, load_prompts, make_requests

CONFIGS = Path(__file__).parents[2] / "configs" / "train"
TRAIN = ["--config", str(CONFIGS / "ppo_toy.yaml"), "--prompts", "toy:train:40"]
TRAIN += ["--evaluation-prompts", "toy:validation:8", "--evaluate-every", "2"]
TRAIN += ["--ppo.total_episodes", "96", "--ppo.num_envs", "8", "--ppo.num_epochs", "2"]


def generate_into(out, controller="none", *more):
    arguments = ["--generator", "toy", "--prompts", "toy:test:10", "--out", str(out)]
    return generate.main([*arguments, "--controller", controller, "--batch-size", "4", *more])


def read(folder, name):
    return json.loads((folder / name).read_text())


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    assert train.main([*TRAIN, "--run-dir", str(folder)]) == 0
    return folder


def test_further_metrics_are_evaluated(tmp_path):
    assert train.main([*TRAIN, "--run-dir", str(tmp_path), "--metrics", "[mae, ssim]"]) == 0
    for entry in read(tmp_path, "evaluations.json"):
        assert {"return", "saved", "ssim", "psnr", "mae"} <= set(entry)
    with pytest.raises(ConfigError, match="beauty"):
        train.main([*TRAIN, "--run-dir", str(tmp_path / "b"), "--metrics", "[beauty]"])


def test_train_tells_what_it_did(run_folder, capsys):
    assert train.main([*TRAIN, "--run-dir", str(run_folder), "--resume"]) == 0
    told = capsys.readouterr().out
    assert "trained 1" in told
    assert "steps of the environment" in told
    assert f"tensorboard --logdir {run_folder / 'tensorboard'}" in told


def test_train_interrupted_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    from agents import ppo

    def interrupt(*_):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(ppo, "log_rollout", interrupt)
    assert train.main([*TRAIN, "--run-dir", str(tmp_path)]) == 130
    assert f"--run-dir {tmp_path} --resume" in capsys.readouterr().out
    monkeypatch.undo()
    assert train.main([*TRAIN, "--run-dir", str(tmp_path), "--resume"]) == 0


@pytest.mark.parametrize("name", ["ppo_scenes.yaml", "ppo_toy.yaml"])
def test_shipped_configs_can_be_read(name):
    options = train.make_parser().parse_args(["--config", str(CONFIGS / name)])
    assert options.ppo.gamma == 1.0


@pytest.mark.parametrize(
    "mistake", [["--ppo.total_episodes", "many"], ["--no-such"], ["--ppo.no_such", "1"]]
)
def test_usage_mistakes_exit_with_2(tmp_path, mistake):
    with pytest.raises(SystemExit) as caught:
        train.main([*TRAIN, "--run-dir", str(tmp_path), *mistake])
    assert caught.value.code == 2


def test_generate_under_each_controller(run_folder, tmp_path):
    costs = {}
    for name, controller in {
        "original": "none",
        "fast": "schedule:tail=[0.4,1.0]",
        "learned": f"policy:{run_folder}",
        "random": "random:1",
    }.items():
        out = tmp_path / name
        assert generate_into(out, controller) == 0
        metadata, provenance = read(out, "meta_data.json"), read(out, "provenance.json")
        assert sorted(metadata) == [f"test_{number:05d}" for number in range(10)]
        for identifier, entry in metadata.items():
            assert Image.open(out / f"{identifier}.png").size == (16, 16)
            assert entry["prompt"].startswith("toy ")
            assert entry["controller"] == controller
            assert all({"stage", "prune_ratio"} <= set(stage) for stage in entry["decisions"])
            assert entry["latency_ms"] > 0
        assert provenance["fingerprint"] == load_generator("toy").fingerprint
        costs[name] = sum(e["cost_flops"] / e["full_cost_flops"] for e in metadata.values()) / 10
    assert costs["original"] == 1
    assert costs["fast"] < 0.6


def test_generate_goes_on_where_it_was(tmp_path, capsys, monkeypatch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    generate_into(whole)
    add = ImageFolder.add

    def add_and_interrupt(folder, record, image, made):
        add(folder, record, image, made)
        if record.id == "test_00001":
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(ImageFolder, "add", add_and_interrupt)
    assert generate_into(stopped) == 130
    assert "6 to go" in capsys.readouterr().out
    monkeypatch.undo()
    first = (stopped / "test_00000.png").stat().st_mtime_ns
    assert generate_into(stopped) == 0
    assert (stopped / "test_00000.png").stat().st_mtime_ns == first
    for number in range(10):
        images = [np.asarray(Image.open(f / f"test_{number:05d}.png")) for f in (whole, stopped)]
        assert np.array_equal(*images)
    assert sorted(read(stopped, "meta_data.json")) == sorted(read(whole, "meta_data.json"))


def test_generate_refuses_to_mix_controllers(tmp_path):
    generate_into(tmp_path, "none")
    with pytest.raises(ConfigError, match=r"'none'.*'schedule:16:1'"):
        generate_into(tmp_path, "schedule:16:1")


def test_generate_again_from_metadata_keeps_prompts_and_seeds(tmp_path):
    generate_into(tmp_path / "a", "none", "--seed", "7")
    generate_into(tmp_path / "b", "none", "--prompts", str(tmp_path / "a" / "meta_data.json"))
    for name, entry in read(tmp_path / "a", "meta_data.json").items():
        other = read(tmp_path / "b", "meta_data.json")[name]
        assert (entry["prompt"], entry["seed"]) == (other["prompt"], other["seed"])
        assert (tmp_path / "a" / f"{name}.png").read_bytes() == (
            tmp_path / "b" / f"{name}.png"
        ).read_bytes()


def test_calibrate_writes_a_table_for_this_generator(tmp_path, capsys):
    out = tmp_path / "latency.json"
    arguments = ["--generator", "toy", "--prompts", "toy:train:3", "--repeats", "2"]
    assert calibrate.main([*arguments, "--out", str(out)]) == 0
    assert "16x16" in capsys.readouterr().out
    generator = load_generator("toy")
    (request,) = make_requests(generator, load_prompts("toy:train:1"))
    assert LatencyTable(out, generator).latency_ms(request, [{}, {}, {"prune_ratio": 1.0}]) > 0


def test_wiring_refuses_what_does_not_exist(tmp_path):
    toy = load_generator("toy")
    with pytest.raises(CheckpointError, match="expected 'scenes'"):
        load_generator(str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="does not exist"):
        load_prompts(str(tmp_path / "nothing.txt"))
    for device in ("tpu9000", "cuda:77"):
        with pytest.raises(ConfigError, match=f"device '{device}' cannot be used"):
            choose_device(device)
    for text in ("scenes:tests:4", "scenes:test", "scenes:test:0", "toy:train:x", "toy"):
        with pytest.raises(ConfigError, match=r"expected (scenes|toy):SPLIT:COUNT"):
            load_prompts(text)
    with pytest.raises(DataError, match="the toy takes 'toy NUMBER'"):
        make_requests(toy, load_prompts("scenes:test:1"))


def test_prompts_of_the_splits_are_disjoint():
    prompts = {
        split: {record.prompt for record in load_prompts(f"scenes:{split}:200")}
        for split in ("train", "validation", "test")
    }
    assert all(len(found) == 200 for found in prompts.values())
    assert not prompts["train"] & prompts["test"]
    assert not prompts["train"] & prompts["validation"]
    assert not prompts["validation"] & prompts["test"]
