"""Tensors and the JSON record that describes them, saved together so that a kill can not part them.

`<name>-<hash>.safetensors` is written first, then `<name>.json`, which names it with its size and
SHA-256, replaces the previous record in one step. A reader sees the old pair or the new one.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from base.errors import CheckpointError
from base.files import write_atomic, write_json


def write_tensor_record(
    folder: str | Path,
    name: str,
    tensors: Mapping[str, torch.Tensor],
    record: Mapping[str, Any],
    keep_previous: bool = False,
) -> Path:
    """Write the pair; return the path of the record.

    Args:
        folder: is made when it does not exist.
        name: the record is `<name>.json`.
        tensors: by name.
        record: plain values for JSON; the key `weights` is added.
        keep_previous: keep the pair that was there as `<name>-previous.json`.
    """
    folder = Path(folder)
    # Copies, because layers may share tensors, and files may not.
    copies = {key: tensor.detach().cpu().clone().contiguous() for key, tensor in tensors.items()}
    content = save(copies)
    digest = hashlib.sha256(content).hexdigest()
    file_name = f"{name}-{digest[:12]}.safetensors"
    write_atomic(folder / file_name, lambda target: target.write_bytes(content))
    path, previous = folder / f"{name}.json", folder / f"{name}-previous.json"
    if keep_previous and path.exists():
        earlier = path.read_bytes()
        write_atomic(previous, lambda target: target.write_bytes(earlier))
    weights = {"file": file_name, "bytes": len(content), "sha256": digest}
    write_json(path, dict(record) | {"weights": weights})
    _remove_unnamed(folder, name, [path, previous])
    return path


def read_tensor_record(
    folder: str | Path, name: str
) -> tuple[dict[str, Any], dict[str, torch.Tensor], str]:
    """Read a pair that `write_tensor_record` wrote. No code in the files is run.

    Returns:
        The record, the tensors, and the SHA-256 of the tensors' file.

    Raises:
        CheckpointError: a file is missing, cut short, changed or of another kind; the message
            names it with what was found and expected.
    """
    path = Path(folder) / f"{name}.json"
    record = _read_record(path)
    weights = record.pop("weights")
    file = path.parent / weights["file"]
    try:
        content = file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} names {file.name}, which cannot be read: {error}") from None
    if content.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{file} is a Git LFS pointer, not the weights; run 'git lfs pull'")
    digest = hashlib.sha256(content).hexdigest()
    if digest != weights["sha256"]:
        raise CheckpointError(
            f"{file} is damaged or cut short: {len(content)} bytes with SHA-256 {digest[:12]}…; "
            f"{path.name} says {weights['bytes']} bytes with {weights['sha256'][:12]}…. "
            "Copy it again, or use another checkpoint"
        )
    try:
        return record, load(content), digest
    except SafetensorError as error:
        raise CheckpointError(f"{file} is not a safetensors file: {error}") from None


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    weights = record.get("weights") if isinstance(record, dict) else None
    if not isinstance(weights, dict) or not {"file", "bytes", "sha256"} <= set(weights):
        raise CheckpointError(f"{path} does not name its weights; it is not a prunegym record")
    if not all(isinstance(weights[key], str) for key in ("file", "sha256")) or (
        Path(weights["file"]).name != weights["file"]
    ):
        raise CheckpointError(f"{path} names weights outside its own folder: {weights['file']!r}")
    return record


def _remove_unnamed(folder: Path, name: str, records: list[Path]) -> None:
    try:
        named = {_read_record(path)["weights"]["file"] for path in records if path.exists()}
    except CheckpointError:  # a damaged older record: leave all that it may name
        return
    for file in folder.glob(f"{name}-*.safetensors"):
        if file.name not in named:
            file.unlink()
