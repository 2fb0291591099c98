import json
import subprocess
import sys

import pandas as pd
import pytest

import eval.evaluation as evaluation_module
from commands.evaluate import main
from eval.comparison import plan_comparison
from eval.evaluation import evaluate
from eval.journal import Journal, identity_of
from eval.metrics.registry import MetricSettings, make_metrics
from eval.scoring import ScoringSettings
from tests.eval.folders_on_disk import write_folder, write_three

pytestmark = pytest.mark.usefixtures("without_plots")


@pytest.fixture
def comparison(tmp_path):
    original = write_folder(tmp_path / "original")
    return plan_comparison(original, {"RL": write_folder(tmp_path / "rl", "policy", spread=6)})


METRICS, _ = make_metrics(["psnr"], MetricSettings())
TWO_AT_A_TIME = ScoringSettings(batch_size=2)


def run(comparison, journal, on_progress=lambda images: None):
    return evaluate(comparison, METRICS, TWO_AT_A_TIME, journal=journal, on_progress=on_progress)


def scored(monkeypatch):
    """The positions from which images are scored from now on."""
    starts, whole = [], evaluation_module.score_images

    def spy(*arguments, first=0):
        starts.append(first)
        return whole(*arguments, first=first)

    monkeypatch.setattr(evaluation_module, "score_images", spy)
    return starts


def stop_after(images):
    done = []

    def on_progress(count):
        done.append(count)
        if sum(done) >= images:
            raise KeyboardInterrupt

    return on_progress


def test_an_interrupted_run_goes_on_where_it_stopped(comparison, tmp_path, monkeypatch):
    whole = run(comparison, None)
    part = run(comparison, tmp_path / "journal", stop_after(4))
    assert not part.complete
    starts = scored(monkeypatch)
    result = run(comparison, tmp_path / "journal")
    assert starts == [4]
    pd.testing.assert_frame_equal(result.images, whole.images)
    assert result.summary == whole.summary


def test_half_a_line_is_cut_and_made_again(comparison, tmp_path, monkeypatch):
    whole = run(comparison, tmp_path / "journal").images
    content = (tmp_path / "journal").read_bytes()
    (tmp_path / "journal").write_bytes(content[:-30])
    starts = scored(monkeypatch)
    pd.testing.assert_frame_equal(run(comparison, tmp_path / "journal").images, whole)
    assert starts == [5]
    assert (tmp_path / "journal").read_bytes() == content


@pytest.mark.parametrize("change", ["file", "prompt", "settings", "metrics", "garbage"])
def test_scores_of_other_files_or_settings_are_not_used(comparison, tmp_path, monkeypatch, change):
    journal = tmp_path / "journal"
    run(comparison, journal)
    starts = scored(monkeypatch)
    metrics, settings = METRICS, TWO_AT_A_TIME
    if change == "file":
        write_folder(tmp_path / "rl", "policy", spread=7)
    elif change == "prompt":
        (tmp_path / "original" / "meta_data.json").write_text('{"img_002": "another"}')
    elif change == "settings":
        settings = ScoringSettings(alpha="white")
    elif change == "metrics":
        metrics, _ = make_metrics(["mse"], MetricSettings())
    else:
        journal.write_bytes(b"\x00not a journal\n[1, 2]")
    now = plan_comparison(tmp_path / "original", {"RL": tmp_path / "rl"})
    result = evaluate(now, metrics, settings, journal=journal)
    assert starts == [0]
    assert result.complete
    with Journal(journal, identity_of(now, metrics, settings)) as opened:
        assert len(list(opened.finished())) == 6


def test_workers_and_batches_may_change(comparison, tmp_path, monkeypatch):
    run(comparison, tmp_path / "journal", stop_after(2))
    starts = scored(monkeypatch)
    settings = ScoringSettings(batch_size=5, workers=1)
    evaluate(comparison, METRICS, settings, journal=tmp_path / "journal")
    assert starts == [2]


KILLED_AFTER_THREE_BATCHES = """
import os, signal, sys
import eval.evaluation as evaluation
from eval.evaluate_agent import main

whole = evaluation.score_images

def killed(*arguments, **options):
    for count, scores in enumerate(whole(*arguments, **options), start=1):
        yield scores
        if count == 3:
            os.kill(os.getpid(), signal.SIGKILL)

evaluation.score_images = killed
main(sys.argv[1:])
"""


def test_a_killed_process_loses_no_finished_row(tmp_path, monkeypatch):
    arguments = [*write_three(tmp_path, count=8), "--out", str(tmp_path / "out")]
    arguments += ["--metrics", "psnr", "--batch-size", "2"]
    command = [sys.executable, "-c", KILLED_AFTER_THREE_BATCHES, *arguments]
    assert subprocess.run(command, stdout=subprocess.DEVNULL, timeout=120).returncode == -9
    journal = tmp_path / "out" / "unfinished.jsonl"
    kept = [json.loads(line) for line in journal.read_bytes().splitlines()[1:]]
    assert [row[0][0] for row in kept] == [f"img_{index:03d}" for index in range(6)]
    starts = scored(monkeypatch)
    assert main(arguments) == 0
    assert starts == [6]
    assert not journal.exists()
    assert len(pd.read_csv(tmp_path / "out" / "per_image.csv")) == 3 * 8
