"""A folder of embeddings that says how each was made, so that a run can go on where it stopped.

`<name>.npy` for each clip and `embeddings.json`: what made them all, what was found in each clip,
and which clips failed. An array counts as made when that file names it and the clip is the same.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from base.errors import ConfigError, DataError
from base.files import read_json, write_array, write_json
from sign_backend.clip import PARTS, Keypoints
from sign_backend.dataset import Clip
from sign_backend.embed import Embedding

RECORD = "embeddings.json"
_SECONDS_BETWEEN_SAVES = 5.0  # the whole record is written each time


class ResultFolder:
    """Embeddings of one kind by one model, added one by one; use it as a context.

    Args:
        path: the folder; it is made when it does not exist.
        made_by: all that the arrays depend on besides the clips; plain values for JSON.

    Raises:
        ConfigError: the folder holds arrays that were made in another way.
        DataError: its record is broken, or there are arrays of unknown origin.
    """

    def __init__(self, path: str | Path, made_by: dict[str, Any]) -> None:
        self.path, self.made_by = Path(path), made_by
        self.clips: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}
        self._saved_at = time.monotonic()
        self._take_over_existing()
        self.save()  # a folder that cannot be written is found before the work

    def __enter__(self) -> "ResultFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.save()

    def place(self, clip: Clip) -> Path:
        """The file of a clip's array."""
        return self.path / f"{clip.name}.npy"

    def is_done(self, clip: Clip) -> bool:
        """Whether the array of this very clip is there."""
        entry = self.clips.get(clip.name)
        return entry is not None and entry["stamp"] == clip.stamp() and self.place(clip).is_file()

    def add(self, clip: Clip, keypoints: Keypoints, values: Embedding) -> None:
        """Write one array and remember where it comes from."""
        write_array(self.place(clip), values)
        self.failed.pop(clip.name, None)
        self.clips[clip.name] = {
            "clip": str(clip.path),
            "stamp": clip.stamp(),
            "frames": len(keypoints.points),
            "frames_announced": keypoints.announced,
            "frames_with": {
                name: int((~np.isnan(keypoints.points[:, part])).all(axis=(1, 2)).sum())
                for name, part in PARTS.items()
            },
            "shape": list(values.shape),
        }
        self._save_now_and_then()

    @property
    def incomplete(self) -> dict[str, str]:
        """Clips with an array for fewer frames than their file says it has: it may be damaged."""
        return {
            name: f"{entry['frames']} of {entry['frames_announced']} frames could be decoded"
            for name, entry in self.clips.items()
            if entry["frames"] < (entry["frames_announced"] or 0)
        }

    def fail(self, clip: Clip, reason: str) -> None:
        """Remember that a clip has no array, and why; one of an earlier state is removed."""
        if self.clips.pop(clip.name, None) is not None:
            self.place(clip).unlink(missing_ok=True)
        self.failed[clip.name] = reason
        self._save_now_and_then()

    def save(self) -> None:
        """Write the record."""
        record = {"made_by": self.made_by, "clips": self.clips, "failed": self.failed}
        write_json(self.path / RECORD, record)
        self._saved_at = time.monotonic()

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self._saved_at > _SECONDS_BETWEEN_SAVES:
            self.save()

    def _take_over_existing(self) -> None:
        origin = self.path / RECORD
        if not origin.exists():
            if self.path.is_dir() and any(self.path.rglob("*.npy")):
                raise DataError(
                    f"{self.path} holds arrays but no {RECORD}; choose an empty folder for OUT"
                )
            return
        found = read_json(origin)
        if not isinstance(found, dict) or not isinstance(found.get("clips"), dict):
            raise DataError(f"{origin} is not the record of a run; choose an empty folder for OUT")
        for name, value in self.made_by.items():
            if found.get("made_by", {}).get(name) != value:
                raise ConfigError(
                    f"{self.path} was made with {name} {found.get('made_by', {}).get(name)!r}; now "
                    f"{name} is {value!r}. Choose another folder for OUT, or remove this one"
                )
        self.clips = found["clips"]
