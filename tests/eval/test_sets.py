"""FID and KID: the statistics that the package is given, and what happens without it."""

import importlib.metadata
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

from eval.comparison import ORIGINAL, plan_comparison
from eval.evaluation import evaluate
from eval.headline import headline_table
from eval.metrics.protocol import MetricUnavailableError
from eval.metrics.registry import MetricSettings, make_metrics
from eval.sets import WEIGHTS, CleanFid, make_set_metric
from tests.eval.folders_on_disk import write_folder


class Network(torch.nn.Module):
    """Instead of Inception: the mean of each channel."""

    def __init__(self, path, download, resize_inside):
        super().__init__()
        assert not download

    def forward(self, images):
        assert images.shape[1:] == (3, 299, 299)
        return images.mean(dim=(2, 3))


@pytest.fixture
def clean_fid(tmp_path, monkeypatch):
    """A package with the functions of clean-fid that are called."""
    seen = []

    def frechet_distance(mean, spread, other_mean, other_spread):
        seen.append((mean, spread, other_mean, other_spread))
        return float(np.square(mean - other_mean).sum())

    def kernel_distance(features, others):
        return float(np.random.random() + len(features) + len(others))

    def make_resizer(library, quantize_after, filter, output_size):
        assert (library, quantize_after, filter) == ("PIL", False, "bicubic")
        return lambda pixels: np.asarray(
            Image.fromarray(pixels).resize(output_size, Image.Resampling.BICUBIC), np.float32
        )

    fid = types.SimpleNamespace(frechet_distance=frechet_distance, kernel_distance=kernel_distance)
    modules = {
        "cleanfid": types.SimpleNamespace(fid=fid),
        "cleanfid.fid": fid,
        "cleanfid.inception_torchscript": types.SimpleNamespace(InceptionV3W=Network),
        "cleanfid.resize": types.SimpleNamespace(make_resizer=make_resizer),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("eval.sets.version", lambda name: "0")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / WEIGHTS).write_bytes(b"x")
    monkeypatch.setenv("PRUNEGYM_CACHE", str(tmp_path / "weights"))
    return seen


@pytest.fixture
def comparison(tmp_path):
    original = write_folder(tmp_path / "a", count=5)
    return plan_comparison(original, {"RL": write_folder(tmp_path / "b", count=5, spread=9)})


def run(comparison, set_metric):
    metrics, _ = make_metrics(["psnr"], MetricSettings())
    return evaluate(comparison, metrics, set_metric=set_metric)


def test_statistics_are_those_of_all_pairs_that_can_be_read(comparison, clean_fid):
    (comparison.folders["RL"].path / "img_004.png").write_bytes(b"x")
    set_metric, missing = make_set_metric(["fid", "kid"], "cpu")
    assert missing == {}
    summary = run(comparison, set_metric).summary
    ((mean, spread, other_mean, _),) = clean_fid
    features = []
    for index in range(4):
        image = Image.open(comparison.folders[ORIGINAL].images[f"img_{index:03d}"])
        big = np.asarray(image.resize((299, 299), Image.Resampling.BICUBIC), np.float64)
        features.append(big.mean(axis=(0, 1)))
    assert mean == pytest.approx(np.mean(features, axis=0), abs=1e-3)
    assert spread == pytest.approx(np.cov(features, rowvar=False), rel=1e-3)
    figures = summary["folders"]["RL"]["figures"]
    assert figures["fid"]["mean"] == pytest.approx(np.square(mean - other_mean).sum())
    assert figures["fid"]["n"] == 4
    assert 8 < figures["kid"]["mean"] < 9
    assert "fid" not in summary["folders"][ORIGINAL]["figures"]
    headings, rows = headline_table(summary)
    assert rows[1][headings.index("fid ↓")][0] != "-"
    assert run(comparison, set_metric).summary == summary  # KID draws, but always the same


def test_a_figure_that_was_not_asked_for_is_not_given(comparison, clean_fid):
    summary = run(comparison, make_set_metric(["kid"], "cpu")[0]).summary
    assert "fid" not in summary["definitions"]
    assert "clean-fid" in summary["definitions"]["kid"]["provenance"]


def test_a_package_that_breaks_costs_only_its_figures(comparison, clean_fid, monkeypatch):
    set_metric = CleanFid(["fid"])

    def broken(*arguments):
        raise TypeError("sqrtm() got an unexpected keyword argument")

    monkeypatch.setattr(sys.modules["cleanfid.fid"], "frechet_distance", broken)
    summary = run(comparison, set_metric).summary
    assert "failed: TypeError: sqrtm()" in summary["not_computed"]["fid"]
    assert summary["folders"]["RL"]["figures"]["psnr_capped50"]["n"] == 5


def test_one_image_has_no_distribution(tmp_path, clean_fid):
    original = write_folder(tmp_path / "one", count=1)
    other = write_folder(tmp_path / "two", count=1, spread=3)
    figures = run(plan_comparison(original, {"RL": other}), CleanFid()).summary["folders"]["RL"]
    assert figures["figures"]["fid"]["mean"] is None


def test_without_package_or_weights_it_is_not_computed(tmp_path, clean_fid, monkeypatch):
    with pytest.raises(MetricUnavailableError, match="no Inception weights"):
        CleanFid(folder=tmp_path)
    monkeypatch.setitem(sys.modules, "cleanfid", None)
    metric, missing = make_set_metric(["fid", "kid"], "cpu")
    assert metric is None
    assert set(missing) == {"fid", "kid"}
    assert "need the package" in missing["fid"]


def test_the_real_package_gives_the_fid_of_its_own_command(comparison, tmp_path):
    try:
        importlib.metadata.version("clean-fid")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("clean-fid is not installed")
    if not (tmp_path.home() / ".cache" / "prunegym" / WEIGHTS).is_file():
        pytest.skip("the Inception weights are not on this machine")
    from cleanfid import fid

    ours = CleanFid(folder=tmp_path.home() / ".cache" / "prunegym")
    values = ours(comparison, run(comparison, None).images)
    theirs = fid.compute_fid(
        *(str(folder.path) for folder in comparison.folders.values()),
        mode="clean",
        custom_feat_extractor=ours._network,
        device=torch.device("cpu"),
        num_workers=0,
    )
    assert values["fid"]["RL"] == pytest.approx(theirs, rel=1e-3)
