"""Weights files that are none, or not whole, or not safe: each is told for what it is."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from base.errors import CheckpointError
from base.weight_files import check_finite, check_hash, file_hash, read_weights


def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"a.weight": torch.randn(64, 32, generator=generator), "a.bias": torch.zeros(64)}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.fixture(params=["safetensors", "pth", "legacy"])
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"w.{request.param}"
    if request.param == "safetensors":
        save_file(weights(), path)
    else:
        torch.save(weights(), path, _use_new_zipfile_serialization=request.param == "pth")
    return path


def test_each_format_is_read(whole: Path) -> None:
    assert equal(read_weights(whole), weights())


def test_names_and_shapes_alone(whole: Path) -> None:
    """Of each format, without values; a file that is not whole is told all the same."""
    shapes = read_weights(whole, device="meta")
    assert {key: value.shape for key, value in shapes.items()} == {
        key: value.shape for key, value in weights().items()
    }
    assert all(value.is_meta for value in shapes.values())
    whole.write_bytes(whole.read_bytes()[:-2000])
    if whole.suffix != ".legacy":  # that one has its values at the end, which are not read
        with pytest.raises(CheckpointError, match="is not a whole"):
            read_weights(whole, device="meta")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_file_cut_short(whole: Path, share: float) -> None:
    content = whole.read_bytes()
    whole.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=rf"{whole.name} \(\d+ bytes\) is not a whole"):
        read_weights(whole)


def test_the_official_vae_file_keeps_its_weights_one_level_deeper(tmp_path: Path) -> None:
    torch.save({"vae": weights(), "trainer": {"step": 3}}, tmp_path / "vae.pth")
    assert equal(read_weights(tmp_path / "vae.pth", inside="vae"), weights())
    with pytest.raises(CheckpointError, match=r"not a flat state dict: \['vae', 'trainer'\]"):
        read_weights(tmp_path / "vae.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n", "Git-LFS pointer"),
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page"),
        (b'{"error": "Repository not found"}', "is a JSON text"),
        (b"PK\x03\x04 and no end", "is not a whole PyTorch file"),
        (bytes(range(256)) * 4, "is not a whole PyTorch file"),
    ],
)
def test_what_is_no_weights_file(tmp_path: Path, content: bytes, message: str) -> None:
    for name in ("model.pth", "model.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            read_weights(tmp_path / name)


def test_a_flipped_bit_in_a_pytorch_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(weights(), path)
    content = bytearray(path.read_bytes())
    content[content.index(weights()["a.weight"].numpy().tobytes()[:16]) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"check sum of its part .* is wrong"):
        read_weights(path)


def test_a_flipped_bit_in_safetensors_is_seen_by_its_hash_or_as_nan(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"w": torch.full((8,), 1.5)}, path)
    expected = file_hash(path)
    assert check_hash(path, expected) == expected == check_hash(path, None)
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40  # 1.5 with all bits of the exponent set is NaN
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is damaged: its SHA-256 begins with"):
        check_hash(path, expected)
    with pytest.raises(CheckpointError, match=r"1 tensors hold values that are not finite"):
        check_finite(read_weights(path), path)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "harm"),)

    torch.save({"a": Harmful()}, tmp_path / "new.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps({"a": Harmful()}, protocol=2))
    for name in ("new.pth", "old.pth"):
        with pytest.raises(CheckpointError):
            read_weights(tmp_path / name)
    assert not (tmp_path / "harm").exists()
    with pytest.raises(CheckpointError, match="could run code"):
        read_weights(tmp_path / "new.pth")


def test_shards_are_put_together(tmp_path: Path) -> None:
    state = weights()
    names = {"a.weight": "model-1-of-2.safetensors", "a.bias": "model-2-of-2.safetensors"}
    for key, name in names.items():
        save_file({key: state[key]}, tmp_path / name)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    assert equal(read_weights(tmp_path), state)
    index.write_text(json.dumps({"weight_map": names | {"gone": "model-1-of-2.safetensors"}}))
    with pytest.raises(CheckpointError, match=r"lack 1 tensors .*gone"):
        read_weights(tmp_path)
    (tmp_path / "model-2-of-2.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-2-of-2\.safetensors is missing"):
        read_weights(tmp_path)
    index.unlink()
    with pytest.raises(CheckpointError, match=r"has 0 files \*\.index\.json"):
        read_weights(tmp_path)
