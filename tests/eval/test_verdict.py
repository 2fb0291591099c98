import pytest

from eval.comparison import ORIGINAL, plan_comparison
from eval.evaluation import evaluate
from eval.metrics.registry import MetricSettings, make_metrics
from eval.verdict import clear_winner, verdict
from tests.eval.folders_on_disk import write_folder


def run(tmp_path, spreads, controllers=("schedule", "policy"), metadata=True):
    folders = {ORIGINAL: write_folder(tmp_path / "original", count=9)}
    for index, (spread, controller) in enumerate(zip(spreads, controllers, strict=False)):
        name = "AB"[index]
        folders[name] = write_folder(tmp_path / name, controller, count=9, spread=spread)
    if not metadata:
        for folder in folders.values():
            (folder / "meta_data.json").unlink()
    metrics, _ = make_metrics(["ssim"], MetricSettings())
    candidates = {name: path for name, path in folders.items() if name != ORIGINAL}
    return evaluate(plan_comparison(folders[ORIGINAL], candidates), metrics)


def test_each_candidate_and_each_pair_has_a_sentence(tmp_path):
    result = run(tmp_path, (12, 6))
    first, second, pair = verdict(result)
    figures = result.summary["folders"]["A"]["figures"]
    full = result.summary["folders"][ORIGINAL]["figures"]["latency_ms"]["mean"]
    assert first.startswith(f"A saves {figures['compute_saved']['mean']:.1%} of the compute")
    assert f"({full / figures['latency_ms']['mean']:.2f} times as fast)" in first
    worst = result.images[result.images["folder"] == "A"].set_index("id")["ssim"].idxmin()
    assert f"over 9 images (worst: {worst}, " in first
    assert second.startswith("B ")
    assert pair.startswith("B against A, image by image: SSIM +")
    assert "better on 9 of 9 images" in pair


@pytest.mark.parametrize(
    ("spreads", "controllers", "words"),
    [
        ((12, 6), ("policy", "schedule"), "B is better in both."),
        ((6, 12), ("schedule", "policy"), "A is better in both."),
        ((6, 12), ("policy", "schedule"), "a trade, not a winner"),
        (
            (12, 6),
            ("schedule", "schedule"),
            "compute saved equal on every image. B is better in one",
        ),
    ],
)
def test_a_winner_is_named_only_where_intervals_say_so(tmp_path, spreads, controllers, words):
    assert words in verdict(run(tmp_path, spreads, controllers))[-1]


def test_what_may_be_chance_is_not_told_apart(tmp_path):
    result = run(tmp_path, (12, 6), ("schedule", "schedule"))
    for entry in result.summary["differences"]:
        entry["ci95"] = (-0.1, 0.1)
    sentence = verdict(result)[-1]
    assert "[-0.1000, +0.1000], maybe by chance" in sentence
    assert sentence.endswith("These images do not tell the two apart.")


def test_without_costs_only_quality_is_told(tmp_path):
    first, _, pair = verdict(run(tmp_path, (12, 6), metadata=False))
    assert first.startswith("A has SSIM 0.")
    assert pair.endswith("better on 9 of 9 images.")


def test_a_clear_winner_beats_all_others(tmp_path):
    summary = run(tmp_path, (12, 6)).summary
    assert clear_winner(summary, "ssim") == "B"
    assert clear_winner(summary, "cost_flops") in ("A", "B")
    for entry in summary["differences"]:
        entry["ci95"] = (-1, 1)
    assert clear_winner(summary, "ssim") is None
