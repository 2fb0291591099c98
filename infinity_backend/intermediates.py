"""What each scale added to a picture: images and spectra, written after the run.

A state keeps the bits of every scale, so nothing has to be recorded while it runs. Scales that were
skipped write nothing. Per image, in its folder:

    summed_codes/intermediate_scale_img_<s>.png    the picture after scale s
    rescale_codes/intermediate_scale_img_<s>.png   what the codes of scale s alone decode to
    fourier_pixel_summed/dft_scale_<ss>_pix.npy    spectrum of the first
    fourier_pixel_residual/dft_scale_<ss>_pix.npy  spectrum of the second
    fourier_latent_summed/dft_scale_<ss>_lat.npy   spectrum of the sum of codes
    fourier_latent_residual/dft_scale_<ss>_lat.npy the same of the scale's codes, resized
    fourier_latent_unscaled/dft_scale_<ss>_lat.npy the same of the scale's codes at their own grid
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from base.files import write_array, write_atomic
from infinity_backend.bsq import Grid, resize
from infinity_backend.generate import Stepper
from infinity_backend.generator import InfinityGenerator
from infinity_backend.parts import InfinityParts
from infinity_backend.spectrum import latent_spectrum, pixel_spectrum
from infinity_backend.state import GenerationState, Row


def scale_codes(row: Row, grid: Grid) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """Per scale that ran: its index, its codes [1, d, h, w], those resized to `grid`, the sum."""
    total: Tensor | None = None
    for stage, signs in enumerate(row.signs):
        if signs is None:
            continue
        codes = signs.permute(2, 0, 1)[None].float() / signs.shape[-1] ** 0.5
        resized = resize(codes, grid)
        total = resized if total is None else total + resized
        yield stage, codes, resized, total


@torch.no_grad()
def save_intermediate_results(
    stepper: Stepper, row: Row, folder: Path, images: bool = True, spectra: bool = True
) -> None:
    """Write the files of one image; see the module for their names.

    Args:
        stepper: what made it.
        row: of a state whose scales have run.
        folder: where to.
        images: write both kinds of pictures.
        spectra: write the five kinds of spectra.
    """
    grid = stepper.tokenizer_grid(stepper.num_stages - 1)
    for stage, codes, resized, total in scale_codes(row, grid):
        for kind, latent in (("summed", total), ("rescale", resized)):
            if images:
                path = folder / f"{kind}_codes" / f"intermediate_scale_img_{stage}.png"
                _save_image(path, stepper.images(latent)[0])
        if not spectra:
            continue
        for kind, latent in (("summed", total), ("residual", resized)):
            spectrum = pixel_spectrum(stepper.vae, latent, grid)
            _save(folder / f"fourier_pixel_{kind}" / f"dft_scale_{stage:02d}_pix.npy", spectrum)
            spectrum = latent_spectrum(latent)
            _save(folder / f"fourier_latent_{kind}" / f"dft_scale_{stage:02d}_lat.npy", spectrum)
        path = folder / "fourier_latent_unscaled" / f"dft_scale_{stage:02d}_lat.npy"
        _save(path, latent_spectrum(codes))


class SavingGenerator(InfinityGenerator):
    """An `InfinityGenerator` that also writes what led to each image that it finishes.

    Args:
        pipeline: the model.
        folders: where to, by the key of the request; others are not written.
        images, spectra: as for `save_intermediate_results`.
    """

    def __init__(
        self,
        pipeline: InfinityParts,
        folders: Mapping[str, Path],
        images: bool = True,
        spectra: bool = True,
    ):
        super().__init__(pipeline)
        self.folders, self.images, self.spectra = folders, images, spectra

    def finish(self, state: GenerationState) -> np.ndarray:
        """Images of the rows that are done; their intermediates are written."""
        for row in np.flatnonzero(state.done).tolist():
            folder = self.folders.get(state.requests[row].key)
            if folder is not None:
                save_intermediate_results(
                    self.stepper, state.rows[row], folder, self.images, self.spectra
                )
        return super().finish(state)


def _save_image(path: Path, image: np.ndarray) -> None:
    write_atomic(path, lambda target: Image.fromarray(image).save(target, format="PNG"))


def _save(path: Path, spectrum: Tensor) -> None:
    write_array(path, spectrum.cpu().numpy().astype(np.float32))
