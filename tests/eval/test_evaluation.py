import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import eval.evaluation as evaluation_module
from eval.comparison import ORIGINAL, plan_comparison
from eval.evaluation import evaluate
from eval.metrics.registry import MetricSettings, make_metrics
from eval.scoring import ScoringSettings
from eval.summary import SummarySettings
from eval.tables import write_tables
from tests.eval.folders_on_disk import write_folder


@pytest.fixture
def folders(tmp_path):
    return {
        ORIGINAL: write_folder(tmp_path / "original", "none"),
        "FAST": write_folder(tmp_path / "fast", "schedule", spread=12),
        "RL": write_folder(tmp_path / "rl", "policy", spread=6),
    }


def run(folders, names=("ssim", "psnr", "lpips", "clip"), **summary):
    candidates = {name: path for name, path in folders.items() if name != ORIGINAL}
    comparison = plan_comparison(folders[ORIGINAL], candidates)
    settings = MetricSettings(lpips_trunk="stand-in", clip_model=folders[ORIGINAL] / "nothing")
    metrics, not_computed = make_metrics(names, settings)
    return evaluate(
        comparison, metrics, ScoringSettings(), SummarySettings(**summary), not_computed
    )


def test_means_are_those_of_the_table_of_images(folders):
    result = run(folders)
    images = result.images
    for name in ("FAST", "RL"):
        own = images[images["folder"] == name]
        for figure, values in result.summary["folders"][name]["figures"].items():
            assert values["n"] == 6
            assert values["mean"] == pytest.approx(own[figure].mean())
            low, high = values["ci95"]
            assert low <= values["mean"] <= high
    costs = result.summary["folders"]["FAST"]["figures"]["compute_saved"]
    assert costs["mean"] == pytest.approx(1.9 / 8)
    assert result.summary["folders"][ORIGINAL]["figures"]["compute_saved"]["mean"] == 0
    assert result.summary["folders"]["RL"]["controller"] == "policy"


def test_the_better_candidate_wins(folders):
    (entry,) = [e for e in run(folders).summary["differences"] if e["figure"] == "ssim"]
    assert (entry["candidate"], entry["baseline"]) == ("RL", "FAST")
    assert entry["wins"] == 6
    assert entry["ci95"][0] > 0


def test_what_cannot_be_computed_is_null_with_a_reason_and_never_zero(folders, tmp_path):
    result = run(folders)
    assert "no usable open_clip model" in result.summary["not_computed"]["clip"]
    assert result.images["clip"].isna().all()
    assert "clip" not in result.summary["folders"]["RL"]["figures"]
    assert "ssim" not in result.summary["folders"][ORIGINAL]["figures"]
    write_tables(result, tmp_path / "out")
    (row,) = [r for r in read(tmp_path / "out" / "skipped.csv") if r["figure"] == "clip"]
    assert (row["reason"], row["id"]) == ("metric_unavailable", "all")
    assert all(row["clip"] == "" for row in read(tmp_path / "out" / "per_image.csv"))


def test_an_image_counts_for_all_candidates_or_for_none(folders):
    (folders["RL"] / "img_005.png").unlink()
    (folders["FAST"] / "img_000.png").write_bytes(b"")
    result = run(folders)
    for name in ("FAST", "RL"):
        figures = result.summary["folders"][name]["figures"]
        assert {values["n"] for values in figures.values()} == {4}
    assert any("2 of 6 images" in warning for warning in result.summary["warnings"])
    own = run(folders, paired="per-candidate").summary
    assert own["folders"]["FAST"]["figures"]["ssim"]["n"] == 5
    (entry,) = [e for e in own["differences"] if e["figure"] == "ssim"]
    assert entry["n"] == 4


def test_categories_have_their_own_means(folders):
    result = run(folders)
    part = result.images[
        (result.images["category"] == "smooth") & (result.images["folder"] == "RL")
    ]
    smooth = result.summary["categories"]["smooth"]["RL"]["ssim"]
    assert smooth["n"] == len(part) == 4
    assert smooth["mean"] == pytest.approx(part["ssim"].mean())
    assert result.summary["categories"].keys() == {"smooth", "detailed"}


def test_a_comparison_with_itself_is_told_loudly(folders):
    shutil.rmtree(folders["RL"])
    shutil.copytree(folders[ORIGINAL], folders["RL"])
    result = run(folders, ["psnr"])
    assert result.summary["folders"]["RL"]["identical_to_original"] == 6
    assert "psnr" not in result.summary["folders"]["RL"]["figures"]
    assert result.summary["folders"]["RL"]["figures"]["psnr_capped100"]["mean"] == 100
    alarms = [w for w in result.summary["warnings"] if "COMPARISON WITH ITSELF" in w]
    assert alarms == [
        "6 of 6 images of RL equal those of Original in every pixel: "
        "IS THIS A COMPARISON WITH ITSELF?"
    ]


def test_two_candidates_that_are_the_same_run_are_told(folders):
    shutil.rmtree(folders["RL"])
    shutil.copytree(folders["FAST"], folders["RL"])
    warnings = run(folders, ["psnr"]).summary["warnings"]
    expected = "6 of 6 files of RL are byte for byte those of FAST: ARE THESE THE SAME RUN?"
    assert expected in warnings


def test_jpeg_is_warned_about(folders):
    file = folders["FAST"] / "img_000.png"
    Image.open(file).save(folders["FAST"] / "img_000.jpg")
    file.unlink()
    warnings = run(folders, ["psnr"]).summary["warnings"]
    assert "1 files of FAST are JPEG or lossy WebP: figures measure the encoder too" in warnings


def test_ctrl_c_keeps_what_was_done(folders, monkeypatch):
    whole = evaluation_module.score_images

    def interrupted(*arguments):
        yield next(whole(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation_module, "score_images", interrupted)
    comparison = plan_comparison(folders[ORIGINAL], {"RL": folders["RL"]})
    metrics, _ = make_metrics(["ssim"], MetricSettings())
    result = evaluate(comparison, metrics, ScoringSettings(batch_size=2))
    assert not result.complete
    assert result.summary["complete"] is False
    assert (
        result.summary["warnings"][0]
        == "interrupted after 2 of 6 images: run it again to compare all"
    )
    assert result.summary["folders"]["RL"]["figures"]["ssim"]["n"] == 2


def test_one_identical_image_is_counted_and_shown(folders):
    shutil.copy(folders[ORIGINAL] / "img_003.png", folders["RL"] / "img_003.png")
    result = run(folders, ["psnr"])
    assert (
        "1 of 6 images of RL equal those of Original in every pixel (img_003)"
        in result.summary["warnings"]
    )
    assert result.summary["folders"]["RL"]["identical_to_original"] == 1


def test_a_metric_that_no_image_has_is_not_computed_with_the_reason(folders):
    result = run(folders, ["ms_ssim", "psnr"])
    assert result.summary["not_computed"] == {
        "ms_ssim": "no image has a value: too_small (12)",
    }
    assert "ms_ssim" not in result.summary["definitions"]


def test_ctrl_c_before_anything_was_done_ends_it(folders, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation_module, "score_images", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(folders, ["psnr"])


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_tables_say_the_same_as_the_summary(folders, tmp_path):
    result = run(folders, ["ssim", "psnr"])
    write_tables(result, tmp_path / "out", legacy=True)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["folders"]["RL"]["figures"]["ssim"]["n"] == 6
    mean = summary["folders"]["RL"]["figures"]["ssim"]["mean"]
    rows = read(tmp_path / "out" / "summary.csv")
    (row,) = [row for row in rows if (row["folder"], row["figure"]) == ("RL", "ssim")]
    assert float(row["mean"]) == mean
    images = pd.read_csv(tmp_path / "out" / "per_image.csv")
    assert images[images["folder"] == "RL"]["ssim"].mean() == pytest.approx(mean)
    assert len(images) == 18
    wide = pd.read_csv(tmp_path / "out" / "per_image_wide.csv")
    assert wide["ssim_RL"].mean() == pytest.approx(mean)
    assert "ssim_Original" not in wide
    assert {"compute_saved_RL", "latency_ms_FAST", "prompt", "status_RL"} <= set(wide)
    legacy = pd.read_csv(tmp_path / "out" / "evaluation_results.csv", index_col=0)
    assert list(legacy.index) == ["FAST", "RL", "ORIGINAL"]
    assert list(legacy.columns) == ["PSNR", "SSIM"]
    assert legacy.loc["RL", "SSIM"] == pytest.approx(mean)
    assert np.isnan(legacy.loc["ORIGINAL", "SSIM"])


def test_the_environment_says_what_made_the_numbers(folders, tmp_path):
    result = run(folders, ["lpips"])
    assert "STAND-IN" in result.environment["metrics"]["lpips_standin"]
    assert result.environment["versions"]["torch"]
    before = result.environment["inputs"]
    Image.fromarray(np.zeros((48, 48, 3), np.uint8)).save(folders["RL"] / "img_000.png")
    after = run(folders, ["lpips"]).environment["inputs"]
    assert before["RL"] != after["RL"]
    assert before["FAST"] == after["FAST"]


def test_hostile_names_reach_the_tables_whole(folders, tmp_path):
    name = 'a,"b"\n[red]<script>&'
    for folder in folders.values():
        shutil.copy(folder / "img_000.png", folder / f"{name}.png")
    result = run(folders, ["psnr"])
    write_tables(result, tmp_path / "out")
    assert name in {row["id"] for row in read(tmp_path / "out" / "per_image.csv")}
