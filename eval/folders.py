"""Which images a folder holds, and under which key each is matched with those of other folders.

A key is the file's stem in Unicode form NFC, case kept: `Café.png` written on a Mac and `Café.jpg`
written on Linux are the same image. Two layouts are known: flat (`<key>.png`), and nested
(`gen_images_<key>/1.jpg`, what the predecessor's inference script wrote).
"""

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
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
    images: Mapping[str, Path]
    warnings: tuple[str, ...]


class _Files(Mapping[str, Path]):
    """Files of a folder by key. Only names are kept: a path takes five times the memory."""

    def __init__(self, path: Path, names: dict[str, str]) -> None:
        self._path = path
        self._names = names

    def __getitem__(self, key: str) -> Path:
        return self._path / self._names[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


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
        flat = [(Path(name).stem, name, link) for name, link in _image_files(path)]
        nested = [] if layout == "flat" or (layout == "auto" and flat) else _nested_files(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    chosen = "nested" if layout == "nested" or nested else "flat"
    return _unambiguous(path, chosen, nested if chosen == "nested" else flat)


def _image_files(path: Path) -> list[tuple[str, bool]]:
    """The name of each image, and whether it is a link."""
    return sorted(
        (entry.name, entry.is_symlink())
        for entry in os.scandir(path)
        if not entry.name.startswith(".")
        and os.path.splitext(entry.name)[1].lower() in EXTENSIONS
        and _is_file(entry)
    )


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link in a circle
        return False


def _nested_files(path: Path) -> list[tuple[str, str, bool]]:
    found = []
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        match = _NESTED.fullmatch(entry.name)
        if match and entry.is_dir():
            found += [
                (match[1], f"{entry.name}/{name}", link or entry.is_symlink())
                for name, link in _image_files(Path(entry.path))
                if Path(name).stem == "1"
            ]
    return found


def _unambiguous(path: Path, layout: str, files: list[tuple[str, str, bool]]) -> ImageFolder:
    """The best file of each key, of (stem, name, whether it is behind a link)."""
    warnings = []
    inside = path.resolve()
    by_key: dict[str, list[str]] = {}
    for stem, name, link in files:
        if link and not (path / name).resolve().is_relative_to(inside):
            warnings.append(f"{path / name} is a link to outside of the folder; left out")
        else:
            by_key.setdefault(printable(stem), []).append(name)
    images = {}
    for key, names in sorted(by_key.items()):
        names.sort(key=lambda name: EXTENSIONS.index(Path(name).suffix.lower()))
        images[key] = names[0]
        if len(names) > 1:
            others = ", ".join(Path(name).name for name in names[1:])
            warnings.append(f"{path / names[0]} was taken for {key!r}; same name: {others}")
    return ImageFolder(path, layout, _Files(path, images), tuple(warnings))
