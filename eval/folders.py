"""Which images a folder holds, and under which key each is matched with those of other folders.

A key is the file's stem in Unicode form NFC, case kept: `Café.png` written on a Mac and `Café.jpg`
written on Linux are the same image. Two layouts are known: flat (`<key>.png`), and nested
(`gen_images_<key>/1.jpg`, what the predecessor's inference script wrote).
"""

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from base.errors import ConfigError
from eval.disk_mapping import DiskMapping

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
    images: Mapping[str, Path]
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
        if layout == "nested":
            return _images(path, "nested", _nested_files(path))
        flat = _images(path, "flat", _image_files(path))
        if layout == "flat" or flat.images:
            return flat
        nested = _images(path, "nested", _nested_files(path))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    return nested if nested.images else flat


def _image_files(path: Path) -> Iterator[tuple[str, str, bool]]:
    """The stem and the name of each image, and whether it is a link."""
    for entry in os.scandir(path):
        stem, extension = os.path.splitext(entry.name)
        if not entry.name.startswith(".") and extension.lower() in EXTENSIONS and _is_file(entry):
            yield stem, entry.name, entry.is_symlink()


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link in a circle
        return False


def _nested_files(path: Path) -> Iterator[tuple[str, str, bool]]:
    """The key and the name of each image, and whether it is behind a link."""
    for entry in os.scandir(path):
        match = _NESTED.fullmatch(entry.name)
        if match and entry.is_dir():
            for stem, name, link in _image_files(Path(entry.path)):
                if stem == "1":
                    yield match[1], f"{entry.name}/{name}", link or entry.is_symlink()


def _images(path: Path, layout: str, files: Iterable[tuple[str, str, bool]]) -> ImageFolder:
    """The best file of each key, of (stem, name, whether it is behind a link)."""
    outside: list[str] = []
    others: dict[str, list[Path]] = {}
    inside = path.resolve()
    images = DiskMapping(
        lambda file: os.fsencode(file.relative_to(path)), lambda name: path / os.fsdecode(name)
    )
    for stem, name, link in files:
        key = printable(stem)
        if link and not (path / name).resolve().is_relative_to(inside):
            outside.append(f"{path / name} is a link to outside of the folder; left out")
        elif key in images:
            others.setdefault(key, [images[key]]).append(path / name)
        else:
            images[key] = path / name
    warnings = sorted(outside)
    for key, paths in sorted(others.items()):
        paths.sort(key=lambda file: (EXTENSIONS.index(file.suffix.lower()), file.name))
        images[key] = paths[0]
        names = ", ".join(file.name for file in paths[1:])
        warnings.append(f"{paths[0]} was taken for {key!r}; same name: {names}")
    return ImageFolder(path, layout, images, tuple(warnings))
