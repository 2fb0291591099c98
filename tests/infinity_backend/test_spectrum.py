"""Spectra by hand, and the files of intermediate results."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from base.decisions import SKIP
from base.errors import DataError
from eval.analyze_fourier_npy import KINDS, find_spectra, main
from infinity_backend.intermediates import SavingGenerator
from infinity_backend.request import ImageRequest
from infinity_backend.spectrum import radial_spectrum
from tests.infinity_backend.tiny import tiny_pipeline


def plain_spectrum(x: np.ndarray) -> np.ndarray:
    """The same in float64, ring by ring."""
    height, width = x.shape[-2:]
    amplitude = np.log(np.maximum(np.abs(np.fft.fft2(x.astype(np.float64))), 1e-6))
    centred = np.fft.fftshift(amplitude, axes=(-2, -1)).mean((0, 1))
    y, z = np.mgrid[:height, :width]
    radius = np.sqrt((y - height // 2) ** 2 + (z - width // 2) ** 2).astype(int)
    rings = [centred[radius == r].mean() for r in range(radius.max() // 2 + 1)]
    return np.array(rings) - rings[0]


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (2, 3, 5, 8), (3, 1, 7, 7), (1, 4, 1, 1)])
def test_radial_spectrum(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    got = radial_spectrum(x)
    assert got[0] == 0.0
    np.testing.assert_allclose(got.numpy(), plain_spectrum(x.numpy()), atol=2e-5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The intermediates of one image whose fourth scale was skipped."""
    root = tmp_path_factory.mktemp("intermediates") / "gen_images_cat"
    request = ImageRequest("a red circle", 1)
    generator = SavingGenerator(tiny_pipeline(), {request.key: root})
    state = generator.begin([request, ImageRequest("blue", 2)])
    for ratio in (0.0, 0.0, 0.4, SKIP, 0.7):
        state = generator.advance(state, [{"prune_ratio": ratio}] * 2)
    images = generator.finish(state)
    Image.fromarray(images[0]).save(root / "1.png")
    return root


def test_scales_that_ran_leave_their_files(folder: Path) -> None:
    for kind in ("summed_codes", "rescale_codes"):
        names = sorted(path.name for path in (folder / kind).iterdir())
        assert names == [f"intermediate_scale_img_{scale}.png" for scale in (0, 1, 2, 4)]
    for kind in KINDS:
        suffix = "pix" if "pixel" in kind else "lat"
        names = sorted(path.name for path in (folder / kind).glob("*.npy"))
        assert names == [f"dft_scale_{scale:02d}_{suffix}.npy" for scale in (0, 1, 2, 4)]
    last = np.asarray(Image.open(folder / "summed_codes" / "intermediate_scale_img_4.png"))
    np.testing.assert_array_equal(last, np.asarray(Image.open(folder / "1.png")))
    first = [
        np.asarray(Image.open(folder / kind / "intermediate_scale_img_0.png"))
        for kind in ("summed_codes", "rescale_codes")
    ]
    np.testing.assert_array_equal(first[0], first[1])  # nothing came before the first scale


def test_the_plots(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(folder), "--skip", "2", "--last_n", "3"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [Path(line).name for line in printed] == [
        f"fourier_plot_{kind.removeprefix('fourier_')}_cat.png" for kind in KINDS
    ]
    assert all(Image.open(line).width > 500 for line in printed)
    steps = [step for step, _ in find_spectra(folder / KINDS[0], skip=2, last_n=3)]
    assert steps == [1, 4]


def test_missing_and_broken_spectra(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert main(["--root", str(tmp_path)]) == 3
    assert "fourier_pixel_summed is missing" in caplog.text
    with pytest.raises(DataError, match="is not a folder"):
        main(["--root", str(tmp_path / "none")])
    (tmp_path / KINDS[0]).mkdir()
    (tmp_path / KINDS[0] / "dft_scale_00_pix.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match="is not a NumPy array"):
        main(["--root", str(tmp_path)])
