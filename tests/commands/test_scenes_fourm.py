"""The small 4M that comes with the package: it draws what its captions say, and can be controlled.

It belongs to commands because it wires the model to the scenes' rules, tables and prompts.
"""

from pathlib import Path

import gymnasium
import numpy as np
import pytest

import prunegym
from agents.parse_controller import parse_controller
from agents.rollout import run_controller
from base.decisions import SKIP
from base.files import read_json
from commands.wiring import load_generator, load_prompts, make_requests, model_folder
from envs.pruning_env import PruningEnv
from envs.references import ReferenceCache
from envs.tabulate import tabulate
from envs.tabulated import TableGenerator
from fourm_backend.pictured import PictureGenerator
from scenes.maps import edge_f1
from scenes.picture_data import EDGES
from scenes.picture_gates import generate, seen_outlines, shares, verdicts_of
from scenes.world import prompts

FOLDER = model_folder("scenes-fourm")
assert prunegym.main  # importing it registers the ids


@pytest.fixture(scope="module")
def generator() -> PictureGenerator:
    loaded = load_generator("scenes-fourm")
    assert isinstance(loaded, PictureGenerator)
    return loaded


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.rglob("*")) < 15e6


def test_it_draws_what_unseen_captions_say(generator: PictureGenerator) -> None:
    scenes = prompts("test", 12)
    outputs = generate(generator, scenes)
    pictures = generator.pictures(outputs)
    found = shares(verdicts_of(pictures, scenes))
    assert found["object colour right at its place"] >= 0.9 and found["ground right"] >= 0.9
    assert found["object shape right"] >= 0.6  # 0.25 by chance
    made = generator.values_of_target(EDGES, outputs)[:, 0].numpy() > 0
    seen = np.stack([seen_outlines(*pair) for pair in zip(pictures, scenes, strict=True)])
    assert edge_f1(made, seen).mean() >= 0.6


def test_its_card_says_what_was_measured(generator: PictureGenerator) -> None:
    measured = read_json(FOLDER / "gates.json")
    card = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert measured["fingerprint"] == generator.fingerprint
    for gate in measured["gates"]:
        assert f"| {gate['name']} | {gate['value']:.4g} |" in card
        assert gate["passed"] or "**missed**" in card
    assert measured["passed"] == all(gate["passed"] for gate in measured["gates"])


def test_a_table_equals_the_model(generator: PictureGenerator) -> None:
    menu = [{"prune_ratio": 0.0}, {"prune_ratio": 1.0}]
    requests = make_requests(generator, load_prompts("scenes:train:3"))
    table = tabulate(generator, requests, ReferenceCache(), 3, menu=menu)
    first = table.first_stage
    live = PruningEnv(generator, requests, first_controlled_stage=first, menu=menu)
    looked_up = PruningEnv(TableGenerator(table), table.requests, first_controlled_stage=first)
    for actions in ((0, 0, 0), (1, 0, 0), (1, 1, 0)):
        for number in range(len(requests)):
            ends = []
            for env in (live, looked_up):
                observation, _ = env.reset(options={"request": number})
                seen = [observation]
                for action in actions:
                    observation, reward, done, _, info = env.step(action)
                    seen.append(observation)
                assert done
                ends.append((np.stack(seen), reward, info["saved"], info["ssim"], info["cosine"]))
            for one, other in zip(*ends, strict=True):
                np.testing.assert_allclose(one, other, atol=1e-4)


def test_it_is_the_default_of_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRUNEGYM_CACHE", str(tmp_path / "cache"))
    env = gymnasium.make("prunegym/FourMDecoding-v0", prompts="scenes:test:2", keep_images=True)
    env.reset(seed=0)
    done = False
    while not done:
        *_, done, _, info = env.step(0)
    assert info["ssim"] == pytest.approx(1.0) and info["image"].shape == (64, 64, 3)
    assert info["saved"] == pytest.approx(0.0)


def test_the_shipped_policy_decides_picture_by_picture(generator: PictureGenerator) -> None:
    requests = make_requests(generator, load_prompts("scenes:test:16"))
    found = {}
    for weight in (0.005, 0.02, 0.1):
        controller = parse_controller(f"policy:scenes-fourm@{weight}", generator, requests[0])
        results = list(run_controller(generator, controller, requests))
        left = [sum(d["prune_ratio"] == SKIP for d in result.decisions) for result in results]
        found[weight] = np.mean(left)
        assert all(d["prune_ratio"] == 0 for r in results for d in r.decisions[:9])
        assert len(set(left)) > 1 or weight != 0.02, "not the same for every prompt"
    assert found[0.005] < found[0.02] < found[0.1]
