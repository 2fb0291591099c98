"""The clips below a folder, and what each one's result is called."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from base.errors import ConfigError, DataError

_PICTURES = ("jpg", "jpeg", "png")


@dataclass(frozen=True)
class Clip:
    """One video file, or one folder with the frames of a video.

    Attributes:
        path: where it is.
        name: of its result, without `.npy`, relative to the folder of results.
    """

    path: Path
    name: str

    def stamp(self) -> list[int]:
        """Bytes and time of the last change: another stamp is another video."""
        files = [self.path] if self.path.is_file() else sorted(self.path.iterdir())
        states = [file.stat() for file in files]
        return [sum(state.st_size for state in states), max(s.st_mtime_ns for s in states)]


def find_clips(folder: Path, extension: str = "mp4", *, keep_folders: bool = False) -> list[Clip]:
    """List the clips below a folder, sorted by path.

    Args:
        folder: looked through with all folders in it.
        extension: of video files, with or without a dot, in any case. One with jpg, jpeg or png
            in it means frames: each folder that holds such files is a clip, named like the folder.
        keep_folders: results lie in the same sub-folders as the clips; by default side by side.

    Raises:
        DataError: no such folder, or no clip in it.
        ConfigError: two clips would write the same result.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected one with videos")
    suffix = f".{extension.lstrip('.')}".lower()
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.name.lower().endswith(suffix) and not path.name.startswith(".") and path.is_file()
    )
    frames = any(word in suffix for word in _PICTURES)
    paths = sorted({file.parent for file in files}) if frames else files
    if not paths:
        raise DataError(
            f"no *{suffix} in {folder} or the folders in it; see --video_file_extension"
        )
    clips = []
    for path in paths:
        name = (path.resolve().name if frames else path.name[: -len(suffix)]) or path.name
        inside = path.relative_to(folder).parent if path != folder else Path()
        clips.append(Clip(path, str(inside / name) if keep_folders else name))
    _require_different_names(clips)
    return clips


def _require_different_names(clips: list[Clip]) -> None:
    same: defaultdict[str, list[Path]] = defaultdict(list)
    for clip in clips:
        same[clip.name].append(clip.path)
    for name, paths in same.items():
        if len(paths) > 1:
            raise ConfigError(
                f"{paths[0]} and {paths[1]} would both be written to {name}.npy; "
                "pass --keep_folders to write results into sub-folders like those of the videos"
            )
