"""Where things are kept between runs that can always be made again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$PRUNEGYM_CACHE`, else `$XDG_CACHE_HOME/prunegym`, else `~/.cache/prunegym`."""
    if "PRUNEGYM_CACHE" in os.environ:
        return Path(os.environ["PRUNEGYM_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "prunegym"
