"""Pictures as the VAE takes them."""

import numpy as np
import pytest
import torch
from PIL import Image

from infinity_backend.image_input import prepare_image


def stripes(height: int, width: int) -> Image.Image:
    """The left quarter red, the right quarter blue, the upper half of what is between white."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[: height // 2] = 255
    pixels[:, : width // 4] = (255, 0, 0)
    pixels[:, -width // 4 :] = (0, 0, 255)
    return Image.fromarray(pixels)


def test_a_wide_picture_loses_its_sides() -> None:
    image = prepare_image(stripes(40, 80), 20, 20)
    assert image.shape == (1, 3, 20, 20) and image.dtype == torch.float32
    middle = image[0, :, :, 4:-4]  # away from the edges, at which the filter overshoots
    assert torch.allclose(middle[:, :6], torch.ones(3, 6, 12))
    assert torch.allclose(middle[:, -6:], -torch.ones(3, 6, 12))


def test_a_tall_picture_loses_top_and_bottom() -> None:
    image = prepare_image(stripes(80, 20), 10, 20)  # covers at 80x20, rows 35 to 44 stay
    assert torch.allclose(image[0, :, :4, 8:12], torch.ones(3, 4, 4))
    assert torch.allclose(image[0, :, -4:, 8:12], -torch.ones(3, 4, 4))
    assert torch.allclose(image[0, :, :, 0], torch.tensor([1.0, -1.0, -1.0])[:, None])


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_any_mode_and_a_size_that_is_the_target_already(mode: str) -> None:
    picture = stripes(16, 16).convert(mode)
    expected = np.asarray(picture.convert("RGB"), dtype=np.float32) / 127.5 - 1
    got = prepare_image(picture, 16, 16)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_sizes_are_cut_to_whole_pixels() -> None:
    assert prepare_image(stripes(31, 47), 13, 29).shape == (1, 3, 13, 29)
    assert prepare_image(stripes(47, 31), 29, 13).shape == (1, 3, 29, 13)
