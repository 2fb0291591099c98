"""`prunegym/SignEmbedding-v0`: both checkers, an episode, fixed strides, a training."""

import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

import prunegym
from agents.parse_controller import parse_controller
from agents.rollout import run_controller
from base.errors import CheckpointError, ConfigError, DataError, ResourceError
from base.files import read_json
from commands.wiring import load_generator, load_prompts, make_requests
from envs.replay import replay
from sign_backend.embed import embed, prepare
from sign_backend.keypoint_process import worker_python
from signers.keypoints import load_recordings

ID = "prunegym/SignEmbedding-v0"
VIDEO = Path(__file__).parents[1] / "data" / "sign" / "mediapipe_signer.mp4"


@pytest.fixture(autouse=True)
def _cache_in_a_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNEGYM_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("mode", ["discrete", "box"])
def test_both_checkers_pass_without_a_warning(mode):
    env = gymnasium.make(ID, action_mode=mode, disable_env_checker=True, prompts="signer:train:4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_check(env.unwrapped, skip_render_check=True)
        sb3_check(env.unwrapped)


def test_an_episode_of_everything_is_embed_exactly_and_saves_nothing():
    env = gymnasium.make(ID, prompts="signer:validation:2", shuffle=False)
    _, info = env.reset(seed=0)
    done = False
    while not done:
        _, _, done, _, info = env.step(0)
    assert info["saved"] == 0 and info["cosine"] == pytest.approx(1.0, abs=1e-12)
    generator = load_generator("sign")
    requests = make_requests(generator, load_prompts("signer:validation:2"))
    full = [[{}] * len(generator.stages(request)) for request in requests]
    outputs = generator.finish(replay(generator, requests, full)[0])
    inputs = [
        prepare(recording.keypoints, generator.model.config)
        for recording in load_recordings("validation")[:2]
    ]
    for output, expected in zip(outputs, embed(generator.model, inputs, "CLS"), strict=True):
        np.testing.assert_array_equal(output, expected)


def test_every_fourth_frame_is_a_schedule_for_clips_of_any_length():
    generator = load_generator("sign")
    requests = make_requests(generator, load_prompts("signer:test:6"))
    controller = parse_controller("schedule:all:0.75", generator, requests[0])
    results = list(run_controller(generator, controller, requests, 4))
    assert len({len(result.decisions) for result in results}) > 1
    for result in results:
        assert {decision["prune_ratio"] for decision in result.decisions} == {0.75}
        assert 0.6 < result.saved < 0.8


def test_prompts_that_do_not_exist_are_refused():
    with pytest.raises(DataError, match="there are"):
        load_prompts("signer:test:100000")
    generator = load_generator("sign")
    with pytest.raises(DataError, match="drawn signer"):
        make_requests(generator, load_prompts("toy:test:1"))


def test_the_generator_takes_a_length_and_a_checkpoint_behind_its_name(tmp_path):
    assert load_generator("sign:300").max_frames == 300
    with pytest.raises(CheckpointError, match=r"none\.ckpt"):
        load_generator(f"sign:{tmp_path / 'none.ckpt'}:300")
    with pytest.raises(ConfigError, match="at most one checkpoint"):
        load_generator("sign:300:400")


def test_videos_of_ones_own_are_prompts():
    try:
        worker_python()
    except ResourceError as error:
        pytest.skip(str(error))
    generator = load_generator("sign:100")
    (request,) = make_requests(generator, load_prompts(f"videos:{VIDEO.parent}", first_seed=3))
    assert request.label == VIDEO.stem and request.seed == 3
    assert request.clip.num_frames == len(request.clip.keypoints.points) == 64
    controller = parse_controller("schedule:all:0.5", generator, request)
    (result,) = run_controller(generator, controller, [request], 1)
    assert result.output.shape == (64,) and 0.4 < result.saved < 0.5
    with pytest.raises(ConfigError, match="max_frames"):
        short = load_generator("sign")
        short.begin(make_requests(short, load_prompts(f"videos:{VIDEO.parent}")))


def test_what_is_no_video_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no \*\.avi"):
        load_prompts(f"videos:{VIDEO.parent}:avi")
    (tmp_path / "prompts.txt").write_text("missing.mp4")
    with pytest.raises(DataError, match="path of a video"):
        make_requests(load_generator("sign"), load_prompts(str(tmp_path / "prompts.txt")))


def test_strides_are_compared_without_a_table(tmp_path):
    arguments = ["compare", "--generator", "sign", "--out", str(tmp_path), "--resamples", "50"]
    arguments += ["--prompts", "signer:test:12", "--training-prompts", "signer:train:12"]
    arguments += ["--schedules", '["none", "schedule:all:0.5", "schedule:all:0.75"]']
    arguments += ["--methods", '{"random": ["random:0"]}', "--budgets", "[0.4, 0.6]"]
    assert prunegym.main(arguments) == 0
    methods = read_json(tmp_path / "comparison.json")["methods"]
    assert {"best mix", "best static", "oracle", "random"} <= set(methods)
    mix, best = (
        methods[name]["cosine"]["budgets"][1]["fidelity"] for name in ("best mix", "oracle")
    )
    assert best > mix > 0.5
    assert (tmp_path / "front.png").stat().st_size > 1000


def test_a_policy_trains_on_it(tmp_path):
    arguments = ["train", "--run-dir", str(tmp_path / "run"), "--generator", "sign"]
    arguments += ["--prompts", "signer:train:8", "--evaluation-prompts", "signer:validation:4"]
    arguments += ["--ppo.total_episodes", "16", "--ppo.num_envs", "4"]
    assert prunegym.main(arguments) == 0
    assert (tmp_path / "run" / "best").is_dir()


def test_the_live_tracker_finds_what_was_recorded():
    try:
        worker_python()
    except ResourceError as error:
        pytest.skip(str(error))
    generator = load_generator("sign:live")
    request = make_requests(generator, load_prompts("signer:validation:1"))[0]
    state = generator.begin([request])
    for _ in range(2):
        state = generator.advance(state, [{}])
    found, recorded = state.rows[0].points, request.clip.keypoints.points[:16]
    same = np.isnan(found[:, [0, 33, 54], 0]) == np.isnan(recorded[:, [0, 33, 54], 0])
    assert same.mean() > 0.9
    generator.tracking.close()


def test_the_policy_that_comes_along_looks_at_some_frames():
    generator = load_generator("sign")
    requests = make_requests(generator, load_prompts("signer:validation:8"))
    saved = []
    for weight in (0.1, 0.6):
        controller = parse_controller(f"policy:signers@{weight}", generator, requests[0])
        results = list(run_controller(generator, controller, requests, 8))
        saved.append(np.mean([result.saved for result in results]))
        assert len({str(result.decisions) for result in results}) > 1  # clip by clip
    assert 0.3 < saved[0] < saved[1] < 0.9
