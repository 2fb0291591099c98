import dataclasses
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image

from base.errors import ConfigError, DataError
from eval.comparison import ORIGINAL, plan_comparison
from eval.metrics.registry import MetricSettings, make_metrics
from eval.scoring import ScoringSettings, score_images
from tests.eval.folders_on_disk import write_folder


@pytest.fixture
def folders(tmp_path):
    return write_folder(tmp_path / "original"), write_folder(tmp_path / "rl", spread=6)


def scores_of(folders, metrics=None, **settings):
    comparison = plan_comparison(folders[0], {"RL": folders[1]}, allow_mismatch=True)
    if metrics is None:
        metrics, _ = make_metrics(["ssim", "psnr"], MetricSettings())
    groups = list(score_images(comparison, metrics, ScoringSettings(**settings)))
    return {(score.folder, score.key): score for group in groups for score in group}


def test_batches_and_workers_change_nothing(folders):
    one = scores_of(folders, batch_size=1, workers=1)
    many = scores_of(folders, batch_size=4, workers=3)
    assert one.keys() == many.keys()
    for place, score in one.items():
        assert score.values == pytest.approx(many[place].values)


def test_one_bad_image_costs_only_its_own_figures(folders):
    original, candidate = folders
    expected = scores_of(folders)
    (candidate / "img_001.png").write_bytes(b"not an image")
    (original / "img_002.png").write_bytes((original / "img_002.png").read_bytes()[:300])
    (candidate / "img_003.png").unlink()
    (original / "img_004.png").unlink()
    found = scores_of(folders)
    statuses = {key: score.status for (name, key), score in found.items() if name == "RL"}
    assert statuses == {
        "img_000": "ok",
        "img_001": "candidate_unreadable",
        "img_002": "reference_unreadable",
        "img_003": "no_candidate",
        "img_004": "no_reference",
        "img_005": "ok",
    }
    for key, status in statuses.items():
        score = found[("RL", key)]
        if status == "ok":
            assert score.values == pytest.approx(expected[("RL", key)].values)
        else:
            assert set(score.values.values()) == {None}
            assert set(score.reasons.values()) == {status}
            assert score.detail
    assert found[(ORIGINAL, "img_002")].status == "reference_unreadable"
    assert found[(ORIGINAL, "img_004")].status == "no_reference"


def test_bad_images_can_be_errors(folders):
    (folders[1] / "img_001.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"RL, image 'img_001': .*--on-bad-image skip"):
        scores_of(folders, on_bad_image="error")


def test_another_size_is_a_reason_or_resized_or_an_error(folders):
    file = folders[1] / "img_001.png"
    Image.open(file).resize((40, 30)).save(file)
    skipped = scores_of(folders)[("RL", "img_001")]
    assert (skipped.status, skipped.detail) == ("size_mismatch", "40x30 against 48x48 in Original")
    assert skipped.values["ssim"] is None
    resized = scores_of(folders, on_size_mismatch="resize")[("RL", "img_001")]
    assert resized.status == "ok"
    assert resized.detail.startswith("resized: 40x30")
    assert 0 < resized.values["ssim"] < 1
    with pytest.raises(DataError, match="on-size-mismatch"):
        scores_of(folders, on_size_mismatch="error")


def test_identical_images_have_no_psnr_but_capped_ones(folders):
    shutil.copy(folders[0] / "img_000.png", folders[1] / "img_000.png")
    score = scores_of(folders)[("RL", "img_000")]
    assert score.identical is True
    assert score.values["psnr"] is None
    assert score.reasons == {"psnr": "identical"}
    assert (score.values["psnr_capped50"], score.values["psnr_capped100"]) == (50.0, 100.0)
    assert score.file_sha256 == scores_of(folders)[(ORIGINAL, "img_000")].file_sha256


def test_too_small_images_have_a_reason(folders):
    for folder in folders:
        Image.fromarray(np.zeros((8, 30, 3), np.uint8)).save(folder / "img_000.png")
    score = scores_of(folders)[("RL", "img_000")]
    assert score.values["ssim"] is None
    assert score.reasons["ssim"] == "too_small"
    assert score.values["psnr_capped50"] == 50.0


@dataclass
class Brightness:
    """A metric as a third party could write it: no reference; fails on one image."""

    name: str = "brightness"
    higher_is_better: bool = True
    needs_reference: bool = False
    needs_prompt: bool = True
    minimum_side: int = 1
    provenance: str = "mean of all values"

    def __call__(self, images, references, prompts):
        assert references is None
        if any("with 3 waves" in prompt for prompt in prompts):
            raise RuntimeError("no")
        values = images.double().mean(dim=(1, 2, 3))
        return torch.where(torch.tensor(["with 4 waves" in p for p in prompts]), torch.nan, values)


def test_a_metric_that_fails_loses_only_the_images_it_fails_on(folders):
    found = scores_of(folders, [Brightness()])
    for name in (ORIGINAL, "RL"):
        values = {key: found[(name, key)].values["brightness"] for _, key in found}
        assert {key for key, value in values.items() if value is None} == {"img_002", "img_003"}
        assert found[(name, "img_002")].reasons == {"brightness": "metric_failed"}
        assert found[(name, "img_003")].reasons == {"brightness": "not_finite"}


class Rude(Brightness):
    """Writes into its input, and answers with too few values."""

    def __call__(self, images, references, prompts):
        images.zero_()
        return images.double().mean(dim=(1, 2, 3))[1:]


class Nested(Brightness):
    """Answers in another shape."""

    def __call__(self, images, references, prompts):
        return images.double().mean(dim=(1, 2))


def test_a_metric_that_misbehaves_costs_only_its_own_figures(folders):
    psnr, _ = make_metrics(["psnr"], MetricSettings())
    clean = scores_of(folders)
    for place, score in scores_of(folders, [Rude("rude"), Nested("nested"), *psnr]).items():
        assert score.reasons["rude"] == "metric_failed"
        assert score.reasons["nested"] == "metric_failed"
        assert score.values.get("psnr") == clean[place].values.get("psnr")


def test_a_metric_without_reference_measures_images_that_have_no_partner(folders):
    (folders[0] / "img_005.png").unlink()
    assert scores_of(folders, [Brightness()])[("RL", "img_005")].values["brightness"] > 0


@pytest.mark.parametrize(
    "setting",
    [
        {"alpha": "pink"},
        {"on_bad_image": "ignore"},
        {"on_size_mismatch": "crop"},
        {"resize_filter": "magic"},
        {"batch_size": 0},
        {"workers": 0},
    ],
)
def test_settings_are_checked(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        dataclasses.replace(ScoringSettings(), **setting)
