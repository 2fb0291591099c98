import json

import pytest

from base.errors import StrictError
from eval.comparison import plan_comparison
from tests.eval.folders_on_disk import write_folder


def say(folder, **fields):
    """Change what provenance.json says."""
    path = folder / "provenance.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    return folder


def change_metadata(folder, **fields):
    """Give every image these fields; None removes one."""
    path = folder / "meta_data.json"
    metadata = json.loads(path.read_text())
    for entry in metadata.values():
        entry.update(fields)
    path.write_text(json.dumps(metadata))
    return folder


@pytest.fixture
def folders(tmp_path):
    return write_folder(tmp_path / "a"), write_folder(tmp_path / "b", "policy", spread=5)


@pytest.mark.parametrize(
    ("ours", "theirs", "refused"),
    [
        ([1, 2, 3], [4, 5, 6], True),
        ([1, 2, 3], [3, 4], True),
        ([1, 2, 3], [2, 3], False),  # a part of the images
        ([1, 2], [2, 1], False),
        ([1, 2], None, False),
        ([1, 2], [], False),
        ([1, 2], "3", False),
    ],
)
def test_seeds_of_a_folder_count_where_no_image_has_its_own(folders, ours, theirs, refused):
    for folder, seeds in zip(folders, (ours, theirs), strict=True):
        change_metadata(say(folder, seeds=seeds), seed=None)
    if refused:
        with pytest.raises(StrictError, match="made from different seeds"):
            plan_comparison(folders[0], {"RL": folders[1]})
    else:
        plan_comparison(folders[0], {"RL": folders[1]})


def test_seeds_of_single_images_go_before_those_of_the_folder(folders):
    say(folders[0], seeds=[1])
    say(folders[1], seeds=[2])
    assert plan_comparison(folders[0], {"RL": folders[1]}).warnings == ()


def test_candidates_are_compared_with_each_other_where_original_has_no_fingerprint(tmp_path):
    original = write_folder(tmp_path / "a", fingerprint=None)
    candidates = {
        name: write_folder(tmp_path / name, fingerprint=name, spread=5 + index)
        for index, name in enumerate(("fast", "rl"))
    }
    with pytest.raises(StrictError, match="rl was made under another fingerprint than fast"):
        plan_comparison(original, candidates)


def test_times_that_were_not_measured_alike_are_told(folders):
    for folder, batch in zip(folders, (16, 1), strict=True):
        change_metadata(say(folder, device="cpu (x86_64)"), batch_size=batch)
    (warning,) = plan_comparison(folders[0], {"RL": folders[1]}).warnings
    assert "Original: cpu (x86_64), batch 16; RL: cpu (x86_64), batch 1" in warning
    change_metadata(folders[1], batch_size=16)
    assert plan_comparison(folders[0], {"RL": folders[1]}).warnings == ()
    say(folders[1], device="cuda (H100)")
    assert "not comparable" in plan_comparison(folders[0], {"RL": folders[1]}).warnings[0]
    change_metadata(folders[1], latency_ms=None)
    assert plan_comparison(folders[0], {"RL": folders[1]}).warnings == ()
