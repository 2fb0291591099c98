"""`python -m eval.analyze_fourier_npy --root FOLDER`: one picture of the spectra of all scales.

Reads `fourier_*/dft_scale_<index>_*.npy`, as `prunegym generate --intermediates` writes them, and
puts `fourier_plot_<kind>_<name>.png` beside them.
"""

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from base.errors import DataError
from base.files import write_atomic

logger = logging.getLogger(__name__)

KINDS = (
    "fourier_pixel_summed",
    "fourier_pixel_residual",
    "fourier_latent_summed",
    "fourier_latent_residual",
    "fourier_latent_unscaled",
)
_FILE = re.compile(r"dft_scale_(\d+)_")
_TICKS = (0.0, 0.17, 0.33, 0.50, 0.67, 0.83, 1.0)


def find_spectra(folder: Path, skip: int = 1, last_n: int | None = None) -> list[tuple[int, Path]]:
    """The files of a folder by scale: the last `last_n`, then every `skip`-th of those."""
    found = []
    for path in sorted(folder.glob("*.npy")):
        match = _FILE.search(path.name)
        if match:
            found.append((int(match[1]), path))
    found.sort(key=lambda entry: entry[0])
    if last_n is not None and last_n > 0:
        found = found[-last_n:]
    return found[:: max(1, skip)]


def plot_spectra(folder: Path, name: str, spectra: Sequence[tuple[int, np.ndarray]]) -> Path:
    """Draw one curve a scale, cropped to the shortest; return the picture's path."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    kind = folder.name.removeprefix("fourier_")
    length = min(len(curve) for _, curve in spectra)
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    shades = colormaps["Blues"](np.linspace(0.35, 1.0, len(spectra)))
    widths = np.linspace(1.0, 2.5, len(spectra))
    for (step, curve), shade, width in zip(spectra, shades, widths, strict=True):
        frequencies = np.linspace(0, np.pi, length)
        axes.plot(frequencies, curve[:length], color=shade, linewidth=width, label=f"Step {step}")
    axes.axhline(0.0, color="grey", linestyle="--", linewidth=0.8)
    axes.set_xticks([share * np.pi for share in _TICKS], [f"{share:.2f}π" for share in _TICKS])
    axes.set(xlabel="frequency", ylabel="log amplitude, relative to the mean")
    axes.set_title(f"{kind}: {name}")
    axes.legend(fontsize="small", ncols=2)
    path = folder / f"fourier_plot_{kind}_{name}.png"
    return write_atomic(path, lambda target: figure.savefig(target, format="png", dpi=150))


def analyze(root: Path, skip: int = 1, last_n: int | None = None) -> list[Path]:
    """Draw every kind of spectrum that a folder has.

    Args:
        root: an image's folder, which holds `fourier_*`.
        skip: keep every skip-th curve.
        last_n: of the last so many scales only.

    Returns:
        The pictures. Kinds that are not there are warned of.

    Raises:
        DataError: the folder is missing, or a spectrum cannot be read.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give one that holds fourier_* folders")
    name = root.resolve().name.removeprefix("gen_images_")
    pictures = []
    for kind in KINDS:
        folder = root / kind
        if not folder.is_dir():
            logger.warning("%s is missing", folder)
            continue
        spectra = [(step, _read(path)) for step, path in find_spectra(folder, skip, last_n)]
        if not spectra:
            logger.warning("%s holds no dft_scale_<index>_*.npy", folder)
            continue
        pictures.append(plot_spectra(folder, name, spectra))
    return pictures


def _read(path: Path) -> np.ndarray:
    try:
        curve = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is not a NumPy array: {error}") from None
    if curve.ndim != 1 or not len(curve):
        raise DataError(f"{path} has shape {list(curve.shape)}; expected one curve [n]")
    return curve


def main(args: list[str] | None = None) -> int:
    """Run the command; return 0, or 3 if nothing was found."""
    parser = argparse.ArgumentParser(prog="prunegym analyze-fourier", description=__doc__)
    parser.add_argument("--root", type=Path, action="append", required=True, help="repeatable")
    parser.add_argument("--skip", type=int, default=1, help="keep every so many-th curve")
    parser.add_argument("--last_n", "--last-n", type=int, default=None, help="last scales only")
    options = parser.parse_args(args)
    pictures = [
        picture for root in options.root for picture in analyze(root, options.skip, options.last_n)
    ]
    for picture in pictures:
        sys.stdout.write(f"{picture}\n")
    return 0 if pictures else DataError.exit_code


if __name__ == "__main__":
    sys.exit(main())
