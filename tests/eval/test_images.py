import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from base.errors import ConfigError
from eval.images import decode, resize


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def test_rgb_is_read_as_it_is(tmp_path):
    pixels = noise(7, 9, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    decoded = decode(tmp_path / "a.png")
    assert np.array_equal(decoded.pixels, pixels)
    assert (decoded.problem, decoded.has_alpha, decoded.lossy) == ("", False, False)


def test_grey_is_replicated_and_sixteen_bits_are_scaled(tmp_path):
    grey = noise(5, 6)
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    for name in ("8.png", "16.png"):
        assert np.array_equal(decode(tmp_path / name).pixels, np.repeat(grey[..., None], 3, axis=2))


def test_a_pixel_mode_without_a_rule_is_a_problem(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "a.tiff")
    (tmp_path / "a.tiff").rename(tmp_path / "a.png")
    assert "no rule turns the pixel mode F" in decode(tmp_path / "a.png").problem


def test_alpha_is_dropped_or_laid_over_a_colour(tmp_path):
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[0, 0, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png").has_alpha
    assert (decode(tmp_path / "a.png", "drop").pixels == [200, 0, 0]).all()
    over_white = decode(tmp_path / "a.png", "white").pixels
    assert over_white[0, 0].tolist() == [200, 0, 0]
    assert over_white[1, 1].tolist() == [255, 255, 255]
    assert decode(tmp_path / "a.png", "black").pixels[1, 1].tolist() == [0, 0, 0]
    with pytest.raises(ConfigError, match="alpha is 'pink'"):
        decode(tmp_path / "a.png", "pink")


def test_formats_that_change_pixels_are_told(tmp_path):
    image = Image.fromarray(noise(16, 16, 3))
    image.save(tmp_path / "a.jpg")
    image.save(tmp_path / "b.webp", lossless=True)
    image.save(tmp_path / "c.webp", lossless=False)
    image.save(tmp_path / "d.bmp")
    image.save(tmp_path / "e.webp", quality=50, save_all=True, append_images=[image.rotate(90)])
    names = ("a.jpg", "b.webp", "c.webp", "d.bmp", "e.webp")
    lossy = [decode(tmp_path / name).lossy for name in names]
    assert lossy == [True, False, True, False, True]


def png_that_claims(width, height):
    def chunk(name, data):
        body = name + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def png_bytes():
    stream = io.BytesIO()
    Image.fromarray(noise(32, 32, 3)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no image format that is known"),
        (b"<html>not found</html>", "no image format that is known"),
        (png_bytes()[:1500], "OSError"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image format that is known"),
        (png_that_claims(20_000, 20_000), "pixels"),
        (png_that_claims(8_200, 8_200), "more pixels than are accepted"),
    ],
)
def test_broken_files_are_results_with_a_problem(tmp_path, content, problem):
    (tmp_path / "a.png").write_bytes(content)
    decoded = decode(tmp_path / "a.png")
    assert decoded.pixels is None
    assert problem in decoded.problem
    assert len(decoded.file_sha256) == 64


def test_flipped_bytes_never_raise(tmp_path):
    original = png_bytes()
    random = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(original)
        for place in random.integers(0, len(damaged), 3):
            damaged[place] ^= int(random.integers(1, 256))
        (tmp_path / "a.png").write_bytes(damaged)
        decoded = decode(tmp_path / "a.png")
        assert (decoded.pixels is None) == bool(decoded.problem)


def test_a_file_that_is_gone_is_a_problem(tmp_path):
    assert "FileNotFoundError" in decode(tmp_path / "gone.png").problem


def test_resizing_gives_height_and_width_in_that_order():
    assert resize(noise(10, 20, 3), 5, 8, "lanczos").shape == (5, 8, 3)
