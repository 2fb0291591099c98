import json
import shutil

import pytest

from base.errors import ConfigError, DataError, StrictError
from eval.comparison import ORIGINAL, plan_comparison, require_overlap
from eval.compute import compute_of
from tests.eval.folders_on_disk import STAGES, write_folder


def test_folders_of_one_generator_are_matched_with_all_that_is_known(tmp_path):
    original = write_folder(tmp_path / "a", "none")
    comparison = plan_comparison(original, {"RL": write_folder(tmp_path / "b", "policy", spread=5)})
    assert list(comparison.folders) == [ORIGINAL, "RL"]
    assert comparison.candidates == ("RL",)
    assert comparison.keys == tuple(f"img_{index:03d}" for index in range(6))
    assert comparison.prompts["img_002"].text == "a picture with 3 waves"
    assert comparison.categories["img_005"] == ("detailed",)
    assert comparison.provenance["RL"]["controller"] == "policy"
    cost = comparison.compute["RL"]["img_000"]
    assert cost.compute_saved == pytest.approx(1.7 / 8)
    assert cost.decisions[-2:] == ((STAGES[-2], 0.7, True), (STAGES[-1], 1.0, True))
    assert comparison.warnings == ()


def test_another_fingerprint_is_refused_and_can_be_allowed(tmp_path):
    original = write_folder(tmp_path / "a", fingerprint="aaaa")
    candidates = {"FAST": write_folder(tmp_path / "b", fingerprint="bbbb", spread=5)}
    with pytest.raises(StrictError, match="fingerprint than Original: bbbb and aaaa") as error:
        plan_comparison(original, candidates)
    assert error.value.exit_code == 4
    assert "--allow-mismatch" in str(error.value)
    allowed = plan_comparison(original, candidates, allow_mismatch=True)
    assert allowed.warnings[0].startswith("NOT COMPARABLE: FAST was made under another fingerprint")


def test_other_seeds_are_refused_with_or_without_provenance(tmp_path):
    original = write_folder(tmp_path / "a", fingerprint=None)
    other = write_folder(tmp_path / "b", fingerprint=None, first_seed=7, spread=5)
    with pytest.raises(StrictError, match=r"other seeds .* for 6 images, such as 'img_000'"):
        plan_comparison(original, {"FAST": other})


def test_the_same_folder_twice_is_refused(tmp_path):
    original = write_folder(tmp_path / "a")
    (tmp_path / "link").symlink_to(original)
    with pytest.raises(StrictError, match="the same folder as Original"):
        plan_comparison(original, {"RL": tmp_path / "link"})


def test_folders_from_elsewhere_are_compared_and_labelled(tmp_path):
    original = write_folder(tmp_path / "a", fingerprint=None)
    candidate = write_folder(tmp_path / "b", spread=5)
    (tmp_path / "a" / "provenance.json").write_text("{ broken")
    comparison = plan_comparison(original, {"FAST": candidate})
    assert comparison.provenance[ORIGINAL] == {}
    assert comparison.warnings[0].startswith("no usable provenance.json in Original:")


@pytest.mark.parametrize("names", [[], [""], [" "], [ORIGINAL]])
def test_names_that_cannot_be_used_are_errors(tmp_path, names):
    original = write_folder(tmp_path / "a")
    with pytest.raises(ConfigError, match="candidates are named"):
        plan_comparison(original, dict.fromkeys(names, original))


def test_nothing_in_common_is_an_error_that_shows_names(tmp_path):
    original = write_folder(tmp_path / "a")
    other = tmp_path / "b"
    other.mkdir()
    shutil.copy(original / "img_000.png", other / "different.png")
    with pytest.raises(DataError, match=r"6 in .*'img_000', RL: 1 in .*'different'"):
        require_overlap(plan_comparison(original, {"RL": other}))
    (other / "different.png").unlink()
    with pytest.raises(DataError, match="RL: 0 in"):
        require_overlap(plan_comparison(original, {"RL": other}))


@pytest.mark.parametrize("category", ["x", ["x", "y"], [], 3, None, {"a": 1}])
def test_categories_are_texts_or_lists_of_texts(tmp_path, category):
    original = write_folder(tmp_path / "a", count=1)
    metadata = {"img_000": {"prompt": "p", "category": category}}
    (original / "meta_data.json").write_text(json.dumps(metadata))
    found = plan_comparison(original, {"RL": write_folder(tmp_path / "b", count=1, spread=1)})
    expected = {"x": ("x",), "['x', 'y']": ("x", "y")}.get(str(category), ("smooth",))
    assert found.categories["img_000"] == expected  # else that of the candidate


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"cost_flops": "many", "full_cost_flops": 1},
        {"cost_flops": True, "full_cost_flops": 1, "latency_ms": -1},
        {"cost_flops": float("nan"), "full_cost_flops": 1, "latency_ms": float("inf")},
        {"cost_flops": 1, "full_cost_flops": 0, "latency_ms": 10**400},
        {"decisions": [3, {"stage": 1, "prune_ratio": 0}, {"stage": "a", "prune_ratio": 1.5}]},
        {"decisions": {"stage": "a"}},
    ],
)
def test_costs_that_make_no_sense_count_as_missing(record):
    cost = compute_of(record)
    assert (cost.compute_saved, cost.latency_ms, cost.decisions) == (None, None, ())
