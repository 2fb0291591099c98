"""The one way in which weights are read: what is not a whole, safe weights file is told apart.

Known are safetensors, PyTorch's `.pth`/`.bin` (read with `weights_only=True`, so that no code can
run), and folders of several such files with the index that `transformers` writes.
"""

import hashlib
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from base.errors import CheckpointError
from base.files import read_json

_TEXT_STARTS = {
    b"version https://git-lfs": (
        "is a Git-LFS pointer, not the weights: a few lines that stand for the file. Fetch the "
        "file itself (`git lfs pull`, or the download button of the hub)"
    ),
    b"<": "is a web page, not weights: the download was answered by a page. Download it again",
    b'{"': "is a JSON text, not weights: it may be the answer of a server. Download it again",
}

_FOREIGN_OBJECTS = ("GLOBAL", "Unsupported class", "Trying to call reduce", "Trying to set")


def read_weights(
    path: str | Path, inside: str | None = None, device: str = "cpu"
) -> dict[str, Tensor]:
    """Read a state dict, memory-mapped where the format allows.

    Args:
        path: a file, or a folder with a `*.index.json` and its shards.
        inside: the entry of a PyTorch file that holds the weights, if it has such an entry
            (the official VAE files keep them under `vae`).
        device: `meta` reads only names and shapes: little of the file, and no memory.

    Raises:
        CheckpointError: missing, a Git-LFS pointer, a web page, cut short, damaged, or holding
            anything but tensors; the message names the file.
    """
    path = Path(path)
    if path.is_dir():
        return _read_shards(path, device)
    check_weights_file(path)
    with open(path, "rb") as file:
        start = file.read(9)
    read = _read_safetensors if start[8:] == b"{" else read_pytorch
    value = read(path, device)
    if inside is not None and isinstance(value.get(inside), Mapping):
        value = value[inside]
    wrong = [str(name) for name, entry in value.items() if not isinstance(entry, Tensor)]
    if wrong or not value:
        raise CheckpointError(
            f"{path} is not a flat state dict: {wrong[:5] or 'it is empty'}. Expected names with "
            "tensors; a training checkpoint holds the weights one level deeper"
        )
    return dict(value)


def check_weights_file(path: Path, holds_json: bool = False) -> None:
    """Raise a `CheckpointError` for what only stands in a file's place: missing, empty, a text.

    Args:
        path: of a file with weights, or of one that belongs to them.
        holds_json: it is right for this one to be JSON.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; expected a file with weights")
    size = path.stat().st_size
    if size == 0:
        raise CheckpointError(f"{path} is empty (0 bytes). Copy or download it again")
    with open(path, "rb") as file:
        head = file.read(64)
    safetensors = head[8:9] == b"{"  # its first bytes are a length: any eight bytes
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for beginning, meaning in _TEXT_STARTS.items():
        if start.startswith(beginning) and not safetensors:
            if holds_json and beginning.startswith(b"{"):
                continue
            raise CheckpointError(f"{path} ({size} bytes) {meaning}")


def check_finite(tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Raise a `CheckpointError` where a weight is NaN or infinite: a flipped bit can do that."""
    bad = [
        name
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
    if bad:
        raise CheckpointError(
            f"{path} is damaged: {len(bad)} tensors hold values that are not finite (first: "
            f"{', '.join(bad[:3])}). Copy or download it again"
        )


def file_hash(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_hash(path: Path, expected: str | None) -> str:
    """The file's hash; a `CheckpointError` if it is not the one that was written down."""
    found = file_hash(path)
    if expected is not None and found != expected:
        raise CheckpointError(
            f"{path} is damaged: its SHA-256 begins with {found[:12]}, checksums.json says "
            f"{expected[:12]}. Copy it again; if you changed it on purpose, delete checksums.json"
        )
    return found


def _read_safetensors(path: Path, device: str) -> Any:
    try:
        if device == "meta":
            with safe_open(path, framework="pt") as file:
                shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
            return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
        return load_file(path, device=device)
    except (SafetensorError, ValueError) as error:
        raise _damaged(path, "safetensors", error) from None


def read_pytorch(path: Path, device: str = "cpu") -> Any:
    """Read a PyTorch file with whatever plain values it holds, without running code from it.

    Args:
        path: of the file.
        device: of the tensors; on `meta` only their shapes are read, and damage to values is not
            looked for.

    Raises:
        CheckpointError: cut short, damaged, or holding objects that could run code.
    """
    with open(path, "rb") as file:
        cut_short = file.read(2) == b"PK" and not zipfile.is_zipfile(path)
    if cut_short:
        raise _damaged(path, "PyTorch", EOFError("its end is missing"))
    try:
        if zipfile.is_zipfile(path) and device != "meta":
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()  # PyTorch itself does not look at the check sums
            if broken is not None:
                raise CheckpointError(
                    f"{path} is damaged: the check sum of its part {broken} is wrong (a flipped "
                    "bit). Copy or download it again"
                )
        return torch.load(
            path, map_location=device, weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except pickle.UnpicklingError as error:
        if not any(sign in str(error) for sign in _FOREIGN_OBJECTS):
            reason = EOFError("it is no pickle, or its end is missing")
            raise _damaged(path, "PyTorch", reason) from None
        raise CheckpointError(
            f"{path} holds Python objects besides tensors, which could run code; it was not "
            "opened. Expected tensors and plain values, as the official files hold"
        ) from None
    except CheckpointError:
        raise
    except Exception as error:  # damaged files make PyTorch raise many kinds
        raise _damaged(path, "PyTorch", error) from None


def _damaged(path: Path, kind: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} ({path.stat().st_size} bytes) is not a whole {kind} file: {error}. It may be a "
        "partial copy or download; copy it again"
    )


def _read_shards(folder: Path, device: str) -> dict[str, Tensor]:
    indices = sorted(folder.glob("*.index.json"))
    if len(indices) != 1:
        raise CheckpointError(
            f"{folder} has {len(indices)} files *.index.json; expected one, which says what each "
            "shard holds (as `transformers` writes it)"
        )
    table = read_json(indices[0])
    where = table.get("weight_map") if isinstance(table, dict) else None
    if not isinstance(where, dict) or not all(isinstance(part, str) for part in where.values()):
        raise CheckpointError(f"{indices[0]} has no 'weight_map' of names to shards")
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(where.values())):
        tensors |= read_weights(folder / Path(shard).name, device=device)
    missing = sorted(set(where) - set(tensors))
    if missing:
        raise CheckpointError(
            f"the shards of {folder} lack {len(missing)} tensors that {indices[0].name} lists "
            f"(first: {', '.join(missing[:3])}). A shard may be of another version"
        )
    return tensors
