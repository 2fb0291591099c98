import hashlib
import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.tensor_record import read_tensor_record, write_tensor_record
from base.errors import CheckpointError

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}
OTHER = {"a": torch.zeros(3)}


def weights_file(folder):
    (file,) = folder.glob("policy-*.safetensors")
    return file


def test_round_trip_and_replacement(tmp_path):
    write_tensor_record(tmp_path, "policy", OTHER, {"step": 1})
    write_tensor_record(tmp_path, "policy", TENSORS, {"step": 2})
    record, tensors, _ = read_tensor_record(tmp_path, "policy")
    assert record == {"step": 2}
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert len(list(tmp_path.iterdir())) == 2


def test_previous_is_kept_when_asked(tmp_path):
    for step in range(3):
        tensors = {"a": torch.tensor(float(step))}
        write_tensor_record(tmp_path, "state", tensors, {"step": step}, keep_previous=True)
    assert read_tensor_record(tmp_path, "state")[0] == {"step": 2}
    record, tensors, _ = read_tensor_record(tmp_path, "state-previous")
    assert (record, float(tensors["a"])) == ({"step": 1}, 1.0)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_kill_between_the_two_files_leaves_the_old_pair(tmp_path, monkeypatch):
    write_tensor_record(tmp_path, "policy", OTHER, {"step": 1})

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("agents.tensor_record.write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        write_tensor_record(tmp_path, "policy", TENSORS, {"step": 2})
    record, tensors, _ = read_tensor_record(tmp_path, "policy")
    assert record == {"step": 1}
    assert torch.equal(tensors["a"], OTHER["a"])


@pytest.mark.parametrize("keep", [0, 10, -1])
def test_cut_short(tmp_path, keep):
    write_tensor_record(tmp_path, "policy", TENSORS, {})
    file = weights_file(tmp_path)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        read_tensor_record(tmp_path, "policy")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(tmp_path, position, bit):
    write_tensor_record(tmp_path, "policy", TENSORS, {})
    file = weights_file(tmp_path)
    content = bytearray(file.read_bytes())
    content[int(position * len(content))] ^= 1 << bit
    file.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_tensor_record(tmp_path, "policy")
    file.unlink()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "damaged"),
        ("<html>", "damaged"),
        ("[]", "does not name its weights"),
        ('{"weights": {"file": "../x", "bytes": 1, "sha256": ""}}', "outside its own folder"),
        ('{"weights": {"file": 3, "bytes": 1, "sha256": ""}}', "outside its own folder"),
        ('{"weights": {"file": "gone", "bytes": 1, "sha256": ""}}', "gone"),
    ],
)
def test_broken_records(tmp_path, content, words):
    (tmp_path / "policy.json").write_text(content)
    with pytest.raises(CheckpointError, match=words):
        read_tensor_record(tmp_path, "policy")


def test_missing_record_and_lfs_pointer(tmp_path):
    with pytest.raises(CheckpointError, match=r"policy\.json"):
        read_tensor_record(tmp_path, "policy")
    write_tensor_record(tmp_path, "policy", TENSORS, {})
    weights_file(tmp_path).write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        read_tensor_record(tmp_path, "policy")


def test_pickles_are_never_read(tmp_path):
    write_tensor_record(tmp_path, "policy", TENSORS, {})
    file = weights_file(tmp_path)
    torch.save(TENSORS, file)
    content = file.read_bytes()
    record = json.loads((tmp_path / "policy.json").read_text())
    record["weights"]["sha256"] = hashlib.sha256(content).hexdigest()
    (tmp_path / "policy.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        read_tensor_record(tmp_path, "policy")
