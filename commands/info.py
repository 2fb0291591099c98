"""`prunegym info`: versions, device, weights, caches and their sizes."""

import os
import platform
import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from jsonargparse import ArgumentParser

from base.cache_folder import cache_folder

PACKAGES = (
    "prunegym",
    "torch",
    "torchvision",
    "gymnasium",
    "stable-baselines3",
    "transformers",
    "open-clip-torch",
    "lpips",
    "scikit-image",
    "numpy",
)


def main(args: Sequence[str] | None = None) -> int:
    """Print what is installed and what takes space; `--clear-cache` frees it."""
    parser = ArgumentParser(prog="prunegym info", description=__doc__)
    parser.add_argument("--clear-cache", action="store_true", help="delete the cache folder")
    options = parser.parse_args(args)
    cache = cache_folder()
    if options.clear_cache:
        freed = folder_bytes(cache)
        shutil.rmtree(cache, ignore_errors=True)
        print(f"freed {_megabytes(freed)} in {cache}")
        return 0
    import torch

    print(f"python      {platform.python_version()} on {platform.platform()}")
    for package in PACKAGES:
        print(f"{package:18} {_version(package)}")
    print(f"cpu cores   {os.cpu_count()}, torch uses {torch.get_num_threads()} threads")
    for index in range(torch.cuda.device_count()):
        print(f"gpu {index}       {torch.cuda.get_device_name(index)}")
    if not torch.cuda.is_available():
        print("gpu         none that torch can use")
    print("weights")
    root = Path(__file__).parents[1]
    for folder in sorted(root.glob("*/pretrained/*/")):
        name = f"{folder.parents[1].name}, {folder.name}"  # the room, and its model or policy
        print(f"  {name:25} {_megabytes(folder_bytes(folder))}  {folder}")
    entries = sorted(entry for entry in cache.glob("*") if entry.is_dir())
    print(f"cache       {cache} (free it with: prunegym info --clear-cache)")
    for entry in entries:
        print(f"  {entry.name:10} {_megabytes(folder_bytes(entry))}")
    if not entries:
        print("  empty")
    return 0


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; 0 if it does not exist."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _megabytes(count: int) -> str:
    return f"{count / 2**20:.1f} MB"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
