"""Files of every odd size and mode: each figure is what its library says of the decoded pixels."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from base.torchvision_stub import import_torchvision
from eval.comparison import ORIGINAL, plan_comparison
from eval.images import decode
from eval.metrics.registry import MetricSettings, make_metrics
from eval.scoring import ScoringSettings, score_images

ROTATED = Image.Exif()
ROTATED[0x112] = 6


def noise(seed, height, width, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def rgb(seed, height=33, width=41):
    return Image.fromarray(noise(seed, height, width))


FILES = {  # name: (the image of a seed, how it is saved)
    "1x1.png": (lambda seed: rgb(seed, 1, 1), {}),
    "2x5.png": (lambda seed: rgb(seed, 2, 5), {}),
    "7x3.bmp": (lambda seed: rgb(seed, 7, 3), {}),
    "11x11.png": (lambda seed: rgb(seed, 11, 11), {}),
    "1x300.png": (lambda seed: rgb(seed, 1, 300), {}),
    "31x32.png": (lambda seed: rgb(seed, 31, 32), {}),
    "64x37.webp": (lambda seed: rgb(seed, 64, 37), {"lossless": True}),
    "grey.png": (lambda seed: Image.fromarray(noise(seed, 33, 35, 1)), {}),
    "bits.png": (lambda seed: Image.fromarray(noise(seed, 33, 35, 1)).convert("1"), {}),
    "grey_alpha.png": (lambda seed: Image.fromarray(noise(seed, 33, 35, 2)), {}),
    "rgba.png": (lambda seed: Image.fromarray(noise(seed, 33, 35, 4)), {}),
    "palette.png": (lambda seed: rgb(seed).quantize(16), {}),
    "palette_transparent.png": (lambda seed: rgb(seed).quantize(16), {"transparency": 3}),
    "keyed.png": (lambda seed: rgb(seed), {"transparency": (1, 2, 3)}),
    "cmyk.jpg": (lambda seed: Image.fromarray(noise(seed, 33, 35, 4), "CMYK"), {}),
    "grey.jpeg": (lambda seed: Image.fromarray(noise(seed, 33, 35, 1)), {}),
    "progressive.jpg": (lambda seed: rgb(seed), {"progressive": True, "subsampling": 2}),
    "rotated.jpg": (lambda seed: rgb(seed), {"exif": ROTATED}),
    "moving.png": (
        lambda seed: rgb(seed),
        {"save_all": True, "append_images": [rgb(98), rgb(99)]},
    ),
    "moving.webp": (
        lambda seed: rgb(seed),
        {"save_all": True, "append_images": [rgb(98)], "lossless": True},
    ),
}
SKIMAGE = {
    "ssim": {
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
        "win_size": 11,
    },
    "ssim_uniform7": {"win_size": 7},
    "ssim_legacy3": {"win_size": 3},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("odd")
    for number, folder in enumerate((ORIGINAL, "RL")):
        (root / folder).mkdir()
        for seed, (name, (image, options)) in enumerate(FILES.items()):
            key, extension = name.split(".")
            image(2 * seed + number).save(
                root / folder / f"{key}_{extension}.{extension}", **options
            )
    return root


@pytest.fixture(scope="module")
def scores(folders):
    metrics = []
    for window in ("gaussian11", "uniform7", "legacy3"):
        metrics += make_metrics(["ssim"], MetricSettings(ssim_window=window))[0]
    metrics += make_metrics(["psnr", "mse", "mae", "lpips"], MetricSettings())[0]
    comparison = plan_comparison(folders / ORIGINAL, {"RL": folders / "RL"})
    every = score_images(comparison, metrics, ScoringSettings(batch_size=7))
    return {score.key: score for part in every for score in part if score.folder == "RL"}


@pytest.mark.parametrize("name", FILES)
def test_figures_are_those_of_the_libraries(folders, scores, name):
    key, extension = name.split(".")
    key = f"{key}_{extension}"
    files = [folders / folder / f"{key}.{extension}" for folder in (ORIGINAL, "RL")]
    a, b = (np.asarray(Image.open(file).convert("RGB")) for file in files)
    values, height, width = scores[key].values, *a.shape[:2]
    assert scores[key].status == "ok"
    assert np.array_equal(decode(files[0]).pixels, a)
    assert values["psnr"] == pytest.approx(peak_signal_noise_ratio(a, b), abs=1e-9)
    difference = a.astype(float) - b
    assert values["mse"] == pytest.approx((difference**2).mean())
    assert values["mae"] == pytest.approx(np.abs(difference).mean())
    for figure, options in SKIMAGE.items():
        if min(height, width) < options["win_size"]:
            assert (values[figure], scores[key].reasons[figure]) == (None, "too_small")
        else:
            theirs = structural_similarity(a, b, channel_axis=2, data_range=255, **options)
            assert values[figure] == pytest.approx(theirs, abs=1e-9)


def test_lpips_in_batches_is_that_of_its_package_one_by_one(folders, scores):
    import_torchvision()
    import lpips

    ((metric,), _) = make_metrics(["lpips"], MetricSettings(lpips_trunk="stand-in"))
    for name in ("31x32.png", "rgba.png", "cmyk.jpg"):
        key = name.replace(".", "_")
        files = [folders / folder / f"{key}.{name[-3:]}" for folder in (ORIGINAL, "RL")]
        pair = [lpips.im2tensor(np.asarray(Image.open(file).convert("RGB"))) for file in files]
        with torch.inference_mode():
            theirs = metric._network(*pair).item()
        assert scores[key].values["lpips_standin"] == pytest.approx(theirs, abs=1e-6)
    assert scores["11x11_png"].reasons["lpips_standin"] == "too_small"
