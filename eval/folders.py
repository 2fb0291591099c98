"""Which images a folder holds, and under which key each is matched with those of other folders.

A key is the file's stem in Unicode form NFC, case kept: `Café.png` written on a Mac and `Café.jpg`
written on Linux are the same image. Two layouts are known: flat (`<key>.png`), and nested
(`gen_images_<key>/1.jpg`, what the predecessor's inference script wrote).
"""

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from base.errors import ConfigError

EXTENSIONS = (".png", ".bmp", ".webp", ".jpg", ".jpeg")  # the first wins where two share a key
LAYOUTS = ("auto", "flat", "nested")

_NESTED = re.compile(r"gen_images_(.+)", re.DOTALL)


@dataclass(frozen=True)
class ImageFolder:
    """The images of one folder.

    Attributes:
        path: the folder.
        layout: `flat` or `nested`.
        images: the file of each key, sorted by key.
        warnings: what was left out, and why.
    """

    path: Path
    layout: str
    images: dict[str, Path]
    warnings: tuple[str, ...]


def printable(text: str) -> str:
    """Text in form NFC that can be written as UTF-8: bytes that were no UTF-8 become escapes."""
    return unicodedata.normalize("NFC", text.encode("utf-8", "backslashreplace").decode("utf-8"))


def find_images(path: str | Path, layout: str = "auto") -> ImageFolder:
    """List the images of a folder.

    Args:
        path: a folder. Its name may hold any character.
        layout: `flat`, `nested`, or `auto`: nested if no image lies in the folder itself.

    Raises:
        ConfigError: an unknown layout, or a folder that is missing or cannot be read.
    """
    path = Path(path)
    if layout not in LAYOUTS:
        raise ConfigError(f"layout is {layout!r}; expected one of {list(LAYOUTS)}")
    if not path.is_dir():
        raise ConfigError(f"{path} is not a folder; give a folder of images")
    try:
        flat = [(Path(file.name).stem, file) for file in _image_files(path)]
        nested = [] if layout == "flat" or (layout == "auto" and flat) else _nested_files(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    chosen = "nested" if layout == "nested" or nested else "flat"
    return _unambiguous(path, chosen, nested if chosen == "nested" else flat)


def _image_files(path: Path) -> list[Path]:
    return sorted(
        Path(entry.path)
        for entry in os.scandir(path)
        if not entry.name.startswith(".")
        and Path(entry.name).suffix.lower() in EXTENSIONS
        and entry.is_file()
    )


def _nested_files(path: Path) -> list[tuple[str, Path]]:
    found = []
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        match = _NESTED.fullmatch(entry.name)
        if match and entry.is_dir():
            images = [file for file in _image_files(Path(entry.path)) if file.stem == "1"]
            found += [(match[1], file) for file in images]
    return found


def _unambiguous(path: Path, layout: str, files: list[tuple[str, Path]]) -> ImageFolder:
    warnings = []
    inside = path.resolve()
    by_key: dict[str, list[Path]] = {}
    for stem, file in files:
        if file.resolve().is_relative_to(inside):
            by_key.setdefault(printable(stem), []).append(file)
        else:
            warnings.append(f"{file} is a link to outside of the folder; left out")
    images = {}
    for key, candidates in sorted(by_key.items()):
        candidates.sort(key=lambda file: EXTENSIONS.index(file.suffix.lower()))
        images[key] = candidates[0]
        if len(candidates) > 1:
            others = ", ".join(file.name for file in candidates[1:])
            warnings.append(f"{candidates[0]} was taken for {key!r}; same name: {others}")
    return ImageFolder(path, layout, images, tuple(warnings))
