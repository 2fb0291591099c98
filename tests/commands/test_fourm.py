"""`prunegym fourm generate`: layers of settings, data sets, sharing among processes, going on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

import prunegym
from base.errors import ConfigError, DataError
from commands.fourm import main
from commands.fourm_settings import TASK_SETTINGS, read_settings
from fourm_backend.config import ModelConfig
from fourm_backend.datasets import boxes_text, open_dataset
from fourm_backend.modalities import REGISTRY
from fourm_backend.model import FourM
from fourm_backend.task import Task

TOKENIZER = Path(__file__).parents[1] / "data/fourm/text_tokenizer_tiny.json"
GLOBAL = ["tok_dinov2_global", "tok_imagebind_global"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    config = {
        "domains_in": ["caption", "rgb@224", "t5_caption", *GLOBAL],
        "domains_out": ["caption", *GLOBAL],
        "dim": 8,
        "encoder_depth": 1,
        "decoder_depth": 1,
        "num_heads": 2,
    }
    torch.manual_seed(0)
    made = FourM(ModelConfig.from_file(config)[0])
    tensors = {name: value.clone() for name, value in made.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def files(model: Path, tmp_path: Path) -> dict[str, Path]:
    prompts = "Prompt\tCategory\tChallenge\tNote\na lake house\tx\ty\tz\na boat in front\tx\ty\tz\n"
    (tmp_path / "prompts.tsv").write_text(prompts + 'a "red dog\tx\ty\tz\n')
    layers: dict[str, dict[str, Any]] = {
        "models": {
            "model": str(model),
            "sr_model": None,
            "text_tok_path": str(TOKENIZER),
            "image_size": 224,
            "rgb_tok_id": "somewhere",
            "output_dir": str(tmp_path / "out"),
        },
        "data": {"data_path": str(tmp_path / "prompts.tsv"), "num_variations": 2},
        "base": {
            "cond_domains": "caption",
            "target_domains": "-".join(GLOBAL),
            "autoregression_schemes": "roar",
            "decoding_steps": "4-2",
            "temps": "3.0-0.5",
            "temp_schedules": "onex:0.5:0.5-constant",
            "cfg_scales": 3,
        },
    }
    paths = {}
    for name, values in layers.items():
        paths[name] = tmp_path / f"{name}.yaml"
        paths[name].write_text(yaml.safe_dump(values))
    return paths


def run(files: dict[str, Path], *more: str) -> int:
    layers = ["-c", files["models"], "-dc", files["data"], "-gc", files["base"]]
    return main(["generate", *map(str, layers), "--device", "cpu", *more])


def outputs(folder: Path) -> dict[str, Any]:
    return {
        str(path.relative_to(folder)): np.load(path) if path.suffix == ".npy" else path.read_text()
        for path in sorted(folder.rglob("*.*"))
        if path.suffix in (".npy", ".txt")
    }


def test_the_documented_layout_and_going_on(files: dict[str, Path], tmp_path: Path) -> None:
    assert run(files, "--save_all_outputs") == 0
    folder = tmp_path / "out/data/base"
    made = outputs(folder)
    assert len(made) == 3 * 2 * 2 + 3
    assert made["conds/caption/000000.txt"] == "a lake house\n"
    one, other = (made[f"targets/{GLOBAL[0]}/000000_{variation}.npy"] for variation in (0, 1))
    assert one.shape == (4, 4) and (one != other).any()
    plots = [path.name for path in sorted((folder / "plots").iterdir())]
    assert plots == ["000000.jpg", "000001.jpg", "000002.jpg"]
    with Image.open(folder / "plots/000000.jpg") as plot:
        assert plot.width > plot.height  # conditions, and two variations
    (folder / f"targets/{GLOBAL[1]}/000001_1.npy").unlink()
    (folder / "plots/000002.jpg").unlink()
    untouched = folder / f"targets/{GLOBAL[1]}/000000_1.npy"
    before = untouched.stat().st_mtime_ns
    assert run(files) == 0
    again = outputs(folder)
    assert all(np.array_equal(again[name], made[name]) for name in made)
    assert untouched.stat().st_mtime_ns == before and (folder / "plots/000002.jpg").is_file()


def test_processes_share_the_work_and_change_nothing(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(files, "--name", "alone") == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        assert run(files, "--name=shared") == 0
    alone, shared = (outputs(tmp_path / "out/data" / name) for name in ("alone", "shared"))
    assert alone.keys() == shared.keys()
    assert all(np.array_equal(alone[name], shared[name]) for name in alone)


def test_a_second_chain_and_text(files: dict[str, Path], tmp_path: Path, model: Path) -> None:
    root = tmp_path / "set"
    for number in range(2):
        (root / "rgb/a").mkdir(parents=True, exist_ok=True)
        picture = np.random.default_rng(number).integers(256, size=(60, 80, 3), dtype=np.uint8)
        Image.fromarray(picture).save(root / f"rgb/a/{number}.png")
    sr = {
        "sr_target_domains": "caption",
        "sr_tokens_per_target": 12,
        "sr_autoregression_schemes": "autoregressive",
        "sr_cfg_scales": 1.0,
    }
    (tmp_path / "sr.yaml").write_text(yaml.safe_dump(sr))
    more = ["--cond_domains", "rgb@224", "--data_path", str(root), "--sr_model", str(model)]
    more += ["--dtype", "bf16", "--target_domains", GLOBAL[1], "--decoding_steps", "3"]
    more += ["--temps", "1.0", "--temp_schedules", "linear"]
    assert run(files, "-src", str(tmp_path / "sr.yaml"), *more) == 0
    made = outputs(tmp_path / "out/data/base--sr")
    assert len(made) == 2 * 2 * 2 and isinstance(made["targets/caption/000001_1.txt"], str)
    plots = sorted(path.name for path in (tmp_path / "out/data/base--sr/plots").iterdir())
    assert plots == [f"00000{i}{part}.jpg" for i in (0, 1) for part in ("", "_sr0", "_sr1")]


def test_nothing_given_at_all(files: dict[str, Path], tmp_path: Path) -> None:
    assert run(files, "--cond_domains", "[]", "--num_samples", "2") == 0
    assert len(outputs(tmp_path / "out/data/base")) == 2 * 2 * 2


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--surprise", "1"], "surprise"),
        (["--num_variations", "two"], "num_variations"),
        (["--num_variations", "null"], "num_variations"),
        (["--temps", "hot"], "temps"),
        (["--model", "null"], "model is missing"),
        (["--text_tok_path", "null"], "text_tok_path"),
        (["--cond_domains", "tok_rgb@224"], "tok_rgb@224"),
        (["--target_domains", "tok_rgb@224"], "tok_rgb@224"),
        (["--cond_domains", "[]"], "num_samples"),
        (["--data_path", "parti_prompts"], "PartiPrompts.tsv"),
        (["--dtype", "int8"], "dtype"),
        (["--seed", "x"], "seed"),
        (["--num_log_images", "some"], "num_log_images"),
        (["--cond_domains", "t5_caption"], "parti_prompts_t5_embs"),
        (["--cfg_scales", "[[1.0, 2.0], 3.0]"], "cfg_scales"),
    ],
)
def test_settings_that_cannot_be_used(files: dict[str, Path], more: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        run(files, *more)


def test_the_command_line_wins_and_exit_codes(files: dict[str, Path], tmp_path: Path) -> None:
    settings = read_settings(
        [files["models"], files["data"], None, None], ["--seed=7", "--temps=1e-1"]
    )
    assert (
        settings["seed"] == 7 and settings["data_name"] == "data" and settings["dtype"] == "float32"
    )
    assert prunegym.main(["fourm", "paint"]) == 2
    assert prunegym.main(["fourm", "generate", "-c", str(tmp_path / "none.yaml")]) == 3
    assert prunegym.main(["fourm", "--help"]) == 0


def test_folders_that_do_not_agree(tmp_path: Path) -> None:
    modalities = {name: REGISTRY[name].at(224, 16) for name in ("rgb@224", "t5_caption", *GLOBAL)}
    for name in GLOBAL:
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "one.npy", np.zeros((3, 16), np.int64))
    (item,) = open_dataset(str(tmp_path), GLOBAL, modalities, None)
    assert item.read()[GLOBAL[0]]["tensor"].shape == (1, 16)
    np.save(tmp_path / GLOBAL[1] / "one.npy", np.full((3, 16), 9999))
    with pytest.raises(DataError, match="9999"):
        item.read()
    np.save(tmp_path / GLOBAL[0] / "two.npy", np.zeros((3, 16), np.int64))
    with pytest.raises(DataError, match=r"no tok_imagebind_global \(first: two\)"):
        open_dataset(str(tmp_path), GLOBAL, modalities, None)
    with pytest.raises(DataError, match="rgb does not exist"):
        open_dataset(str(tmp_path), ["rgb@224"], modalities, None)
    (tmp_path / "t5_caption").mkdir()
    vectors, valid = np.ones((9, 4096), np.float32), np.arange(9) < 4
    np.savez(tmp_path / "t5_caption/one.npz", emb=vectors, mask_valid=valid)
    (item,) = open_dataset(str(tmp_path), ["t5_caption"], modalities, None)
    assert item.read()["t5_caption"]["input_mask"].tolist() == [[False] * 4 + [True] * 5]
    (tmp_path / "t5_caption/one.npz").write_bytes(b"not an archive")
    with pytest.raises(DataError, match="cannot be read as t5_caption"):
        item.read()


def test_a_bad_file_does_not_end_a_run(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set/caption").mkdir(parents=True)
    for name, text in (("a", "a lake house"), ("b", ""), ("c", "a boat")):
        (tmp_path / f"set/caption/{name}.txt").write_text(text)
    assert run(files, "--data_path", str(tmp_path / "set")) == 3
    assert "2 samples made" in capsys.readouterr().out
    assert len(outputs(tmp_path / "out/data/base")) == 2 * 2 * 2


def test_prompts_with_vectors_and_weights_a_condition(
    files: dict[str, Path], tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    valid = np.arange(9)[None] < np.array([[3], [9], [1]])
    vectors = generator.normal(size=(3, 9, 4096)).astype(np.float32)
    np.savez(tmp_path / "t5.npz", emb=vectors, mask_valid=valid)
    more = ["--cond_domains", "caption-t5_caption", "--num_log_images", "1"]
    more += ["--parti_prompts_t5_embs", str(tmp_path / "t5.npz")]
    assert run(files, *more, "--cfg_scales", "[[2.0, 1.0], [2.0, 1.0, 3.0]]") == 0
    folder = tmp_path / "out/data/base"
    assert len(outputs(folder)) == 3 * 2 * 2
    assert [path.name for path in (folder / "plots").iterdir()] == ["000000.jpg"]
    np.savez(tmp_path / "t5.npz", emb=vectors[:2], mask_valid=valid[:2])
    with pytest.raises(DataError, match="of 2 prompts"):
        run(files, *more, "--name", "again")


def test_boxes_as_text() -> None:
    boxes = [
        {"boxes": [0.5, 0.5, 1.0, 1.0], "class_name": "dog", "score": 0.9},
        {"boxes": [0.1, 0.0, 0.2, 0.3], "class_name": "teddy bear", "score": 0.6},
        {"boxes": [0.0, 0.0, 0.2, 0.3], "class_name": "cat", "score": 0.59},
    ]
    expected = "v0=100 v1=0 v2=200 v3=300 teddy bear v0=500 v1=500 v2=999 v3=999 dog"
    assert boxes_text({"instances": boxes}) == expected


def test_the_shipped_recipes() -> None:
    folder = Path(__file__).parents[2] / "configs/fourm"
    recipe, finer = "T2CR_roar49-25_cfg3_t6-0.5.yaml", "x2CR_mg8_cfg3_t1const.yaml"
    names = ("models.yaml", "prompts.yaml", recipe, finer)
    settings = read_settings([folder / name for name in names], [])
    assert settings["name"] == Path(recipe).stem and settings["sr_name"] == Path(finer).stem
    base = Task.from_values({name: settings.get(name) for name in TASK_SETTINGS})
    second = Task.from_values({name: settings.get(f"sr_{name}") for name in TASK_SETTINGS})
    assert [len(task.schedule(REGISTRY)) for task in (base, second)] == [74, 16]
