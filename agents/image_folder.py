"""A folder of generated images that says how each was made.

`<id>.png`, `meta_data.json` (id to prompt, seed, decisions, cost, latency) and `provenance.json`
(what made them all). An image counts as made when `meta_data.json` names it, so a run that was
stopped anywhere goes on where it was, and images of two controllers never mix.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agents.prompts import PromptRecord
from base.errors import ConfigError, DataError
from base.files import read_json, write_atomic, write_json

FORMAT = 1
_IDENTITY = ("format", "fingerprint", "controller")  # what must agree to go on in a folder
_ASKED = ("prompt", "seed", "negative_prompt")
_SECONDS_BETWEEN_SAVES = 5.0  # the whole metadata is written each time


class ImageFolder:
    """Images of one controller on one generator, added one by one.

    Use it as a context: on the way out, also by an error or Ctrl-C, the metadata is written.

    Args:
        path: the folder; it is made when it does not exist.
        fingerprint: of the generator.
        controller: names the controller and all that it depends on, as `Controller.identity`.
        generator: what a person calls the generator.
        device: where it runs, such as `cpu`.
        place: file of an id, relative to the folder; by default `<id>.png`.

    Raises:
        ConfigError: the folder holds images of another controller or generator.
        DataError: its metadata is broken, or there are images of unknown origin.
    """

    def __init__(
        self,
        path: str | Path,
        fingerprint: str,
        controller: str,
        generator: str,
        device: str,
        place: Callable[[str], str] = "{}.png".format,
    ) -> None:
        self.path, self.place = Path(path), place
        self.provenance: dict[str, Any] = {
            "format": FORMAT,
            "fingerprint": fingerprint,
            "controller": controller,
            "generator": generator,
            "device": device,
            "versions": _versions(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.entries: dict[str, dict[str, Any]] = {}
        self._saved_at = time.monotonic()
        self._take_over_existing()

    def __enter__(self) -> "ImageFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.save()

    def missing(self, records: Iterable[PromptRecord]) -> list[PromptRecord]:
        """Return the records that have no image yet.

        Raises:
            ConfigError: the image of an id was made from another prompt or seed.
        """
        missing = []
        for record in records:
            entry = self.entries.get(record.id)
            if entry is None or not (self.path / self.place(record.id)).is_file():
                missing.append(record)
                continue
            asked = _asked(record)
            made = {name: entry[name] for name in _ASKED if name in entry}
            if made != asked:
                raise ConfigError(
                    f"{self.path / self.place(record.id)} was made from {made}; asked for {asked}. "
                    "Choose another --out, or remove this one"
                )
        return missing

    def add(self, record: PromptRecord, image: np.ndarray, made: Mapping[str, Any]) -> None:
        """Write one image and remember how it was made.

        Args:
            record: what was asked for.
            image: `[height, width, 3]` uint8 RGB.
            made: decisions, cost and latency; plain values for JSON.
        """
        path = self.path / self.place(record.id)
        options = {"format": "JPEG", "quality": 95} if path.suffix == ".jpg" else {"format": "PNG"}
        write_atomic(path, lambda target: Image.fromarray(image).save(target, **options))
        entry = _asked(record)
        if record.category is not None:
            entry["category"] = record.category
        self.entries[record.id] = entry | dict(made)
        if time.monotonic() - self._saved_at > _SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Write `meta_data.json` and `provenance.json`."""
        seeds = sorted({entry["seed"] for entry in self.entries.values()})
        write_json(self.path / "meta_data.json", self.entries)
        write_json(self.path / "provenance.json", self.provenance | {"seeds": seeds})
        self._saved_at = time.monotonic()

    def _take_over_existing(self) -> None:
        origin = self.path / "provenance.json"
        if not origin.exists():
            if self.path.is_dir() and any(
                image for suffix in ("png", "jpg") for image in self.path.rglob(f"*.{suffix}")
            ):
                raise DataError(
                    f"{self.path} holds images but no provenance.json; choose an empty folder"
                )
            self.save()  # before the first image, so that images always have an origin
            return
        found = read_json(origin)
        if not isinstance(found, Mapping):
            raise DataError(f"{origin} is not an object")
        for name in _IDENTITY:
            if found.get(name) != self.provenance[name]:
                raise ConfigError(
                    f"{self.path} was made with {name} {found.get(name)!r}; now {name} is "
                    f"{self.provenance[name]!r}. Choose another --out, or remove the folder"
                )
        self.provenance["created"] = found.get("created", self.provenance["created"])
        entries = read_json(self.path / "meta_data.json")
        if not isinstance(entries, dict) or not all(
            isinstance(entry, dict) and {"prompt", "seed"} <= set(entry)
            for entry in entries.values()
        ):
            raise DataError(f"{self.path / 'meta_data.json'} has entries without prompt or seed")
        self.entries = entries


def _asked(record: PromptRecord) -> dict[str, Any]:
    """What an image is made from."""
    values = {name: getattr(record, name) for name in _ASKED}
    return {name: value for name, value in values.items() if value is not None}


def _versions() -> dict[str, str]:
    versions = {}
    for package in ("prunegym", "torch", "numpy", "pillow", "gymnasium", "stable-baselines3"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that is not installed
            versions[package] = "unknown"
    return versions
