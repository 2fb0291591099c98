import pytest

from agents.latency import LatencyTable, measure_latency
from agents.ppo import train
from agents.ppo_settings import EnvironmentOptions, PPOSettings, TrainSettings
from base.errors import CheckpointError, ConfigError
from base.files import write_json
from envs.toy import ToyGenerator, ToyRequest

GENERATOR = ToyGenerator()
REQUEST = ToyRequest(1)
TIMES = {"median_ms": 3.0, "percentile_10_ms": 2.0, "percentile_90_ms": 4.0}


def test_measures_every_stage_and_allowed_decision():
    seen = []
    table = measure_latency(GENERATOR, [REQUEST] * 2, repeats=3, warm_up=1, on_stage=seen.append)
    assert seen == ["2x2", "4x4", "8x8", "16x16"]
    measured = [
        (row["stage"], row["decision"]["guidance"], row["decision"]["prune_ratio"])
        for row in table["stages"]
    ]
    assert measured == [
        (stage, guidance, ratio)
        for stage in seen
        for guidance in (True, False)
        for ratio in (0.0, 0.4, 0.7, 1.0)
        if (stage, ratio) != ("2x2", 1.0)
    ]
    others = [table[name] for name in ("begin", "features", "decision", "finish")]
    assert table["decision"]["median_ms"] > table["features"]["median_ms"]
    for row in [*table["stages"], *others]:
        assert 0 <= row["percentile_10_ms"] <= row["median_ms"] <= row["percentile_90_ms"]
    assert table["fingerprint"] == GENERATOR.fingerprint
    assert table["batch_size"] == 2


def write_table(folder, **changes):
    rows = [
        {
            "stage": stage,
            "decision": {"prune_ratio": ratio, "guidance": True},
            **TIMES,
            "median_ms": ms,
        }
        for stage in ("2x2", "4x4", "8x8", "16x16")
        for ratio, ms in ((0.0, 10.0), (0.4, 8.0), (0.8, 4.0), (1.0, 1.0))
    ]
    table = {"format": 2, "fingerprint": GENERATOR.fingerprint, "begin": TIMES, "finish": TIMES}
    table |= {"stages": rows, "decision": TIMES | {"median_ms": 0.5}}
    return write_json(folder / "latency.json", table | changes)


def test_looks_up_and_interpolates(tmp_path):
    table = LatencyTable(write_table(tmp_path), GENERATOR)
    assert table.stage_ms("8x8", {"prune_ratio": 0.6, "guidance": True}) == pytest.approx(6.0)
    assert table.stage_ms("8x8", {"prune_ratio": 1.0, "guidance": True}) == 1.0
    # Between the largest measured ratio and skip nothing is known: skip is no ratio.
    assert table.stage_ms("8x8", {"prune_ratio": 0.99, "guidance": True}) == 4.0
    decisions = [{}, {"prune_ratio": 0.4}, {"prune_ratio": 1.0}, {}]
    assert table.latency_ms(REQUEST, decisions) == pytest.approx(3 + 3 + 10 + 8 + 1 + 10)
    assert table.latency_ms(REQUEST, decisions, asked=2) == pytest.approx(35 + 2 * 0.5)


def test_what_was_not_measured_is_an_error(tmp_path):
    table = LatencyTable(write_table(tmp_path), GENERATOR)
    with pytest.raises(ConfigError, match="guidance"):
        table.stage_ms("8x8", {"prune_ratio": 0.4, "guidance": False})
    with pytest.raises(ConfigError, match="32x32"):
        table.stage_ms("32x32", {"prune_ratio": 0.4, "guidance": True})


def test_tables_of_others_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=f"'?other'?.*{GENERATOR.fingerprint}"):
        LatencyTable(write_table(tmp_path, fingerprint="other"), GENERATOR)
    with pytest.raises(CheckpointError, match="not a latency table"):
        LatencyTable(write_json(tmp_path / "x.json", []), GENERATOR)


def test_batches_with_different_stages_are_refused():
    with pytest.raises(ConfigError, match="same stages"):
        measure_latency(GENERATOR, [ToyRequest(0), ToyRequest(1)])
    with pytest.raises(ConfigError, match="repeats is 0"):
        measure_latency(GENERATOR, [REQUEST], repeats=0)


def test_milliseconds_as_what_is_learned_to_save(tmp_path):
    table = LatencyTable(write_table(tmp_path), GENERATOR)
    settings = TrainSettings(
        environment=EnvironmentOptions(preference=0.5, cost="latency", first_controlled_stage=1),
        ppo=PPOSettings(total_episodes=8, num_envs=4, batch_size=8, repeats=2),
    )
    requests = [ToyRequest(index) for index in (1, 4, 7, 10)]  # those with four stages
    held_out = [ToyRequest(1000)]
    result = train(GENERATOR, requests, held_out, settings, tmp_path / "run", latency_table=table)
    last = result.evaluations[-1]
    full_ms = 3 + 4 * 10 + 3  # text, four stages, decoding
    saved = last["latency_saved_ms"] / full_ms
    assert last["return"] == pytest.approx(0.5 * saved + 0.5 * last["ssim"])
    with pytest.raises(ConfigError, match="needs a latency_table"):
        train(GENERATOR, requests, held_out, settings, tmp_path / "other")
