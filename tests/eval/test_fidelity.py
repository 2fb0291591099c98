import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from base.errors import ConfigError, DataError
from eval.fidelity import PRIMARY, PSNR_CAP_DB, fidelity
from eval.metrics.ssim import ssim

SCIKIT_SETTINGS = {
    "gaussian11": {"gaussian_weights": True, "use_sample_covariance": False, "sigma": 1.5},
    "uniform7": {"win_size": 7},
    "legacy3": {"win_size": 3},
}


def noisy_pair(height: int, width: int, seed: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    ramp = np.linspace(0, 255, height * width * 3).reshape(height, width, 3)
    noise = random.normal(0, spread, (2, height, width, 3))
    first, second = np.clip(ramp + noise, 0, 255).astype(np.uint8)
    return first, second


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    height=st.integers(11, 40),
    width=st.integers(11, 40),
    seed=st.integers(0, 999),
    spread=st.sampled_from([0.0, 0.5, 5.0, 60.0]),
    window=st.sampled_from(list(SCIKIT_SETTINGS)),
)
def test_ssim_equals_scikit_image(height, width, seed, spread, window):
    first, second = noisy_pair(height, width, seed, spread)
    expected = structural_similarity(
        first, second, data_range=255, channel_axis=2, **SCIKIT_SETTINGS[window]
    )
    found = ssim(torch.from_numpy(first)[None], torch.from_numpy(second)[None], window)
    assert found.item() == pytest.approx(expected, abs=1e-9)


def test_image_figures_equal_scikit_image_in_every_row():
    pairs = [noisy_pair(64, 64, seed, spread=20) for seed in range(20)]
    found = fidelity("image", [x for x, _ in pairs], [y for _, y in pairs])
    for row, (first, second) in enumerate(pairs):
        expected = structural_similarity(
            first, second, data_range=255, channel_axis=2, **SCIKIT_SETTINGS["gaussian11"]
        )
        assert found["ssim"][row] == pytest.approx(expected, abs=1e-9)
        expected = peak_signal_noise_ratio(first, second, data_range=255)
        assert found["psnr"][row] == pytest.approx(expected, abs=1e-9)


def test_images_of_several_sizes_keep_their_order():
    pairs = [noisy_pair(20 + seed % 3, 30, seed, spread=9) for seed in range(7)]
    together = fidelity("image", [x for x, _ in pairs], [y for _, y in pairs])
    alone = [fidelity("image", x[None], y[None]) for x, y in pairs]
    for name, values in together.items():
        assert values.tolist() == pytest.approx([figures[name][0] for figures in alone], abs=1e-12)


def test_identical_and_opposite_images():
    black, white = np.zeros((1, 16, 16, 3), np.uint8), np.full((1, 16, 16, 3), 255, np.uint8)
    same = fidelity("image", black, black)
    assert same["ssim"][0] == 1.0
    assert same["psnr"][0] == PSNR_CAP_DB
    opposite = fidelity("image", black, white)
    assert opposite["ssim"][0] < 1e-3
    assert opposite["psnr"][0] == 0.0


def test_tokens_agree_on_the_share_of_equal_positions():
    outputs = [np.array([1, 2, 3, 4]), np.array([7, 7])]
    references = [np.array([1, 2, 3, 9]), np.array([7, 7])]
    assert fidelity("tokens", outputs, references)["agreement"].tolist() == [0.75, 1.0]


def test_embeddings_are_compared_by_direction():
    outputs = np.array([[1.0, 0.0], [2.0, 2.0], [1.0, 0.0]], np.float32)
    references = np.array([[5.0, 0.0], [-1.0, -1.0], [0.0, 3.0]], np.float32)
    found = fidelity("embedding", outputs, references)["cosine"]
    assert found.tolist() == pytest.approx([1.0, -1.0, 0.0])


@pytest.mark.parametrize("kind", PRIMARY)
def test_the_primary_figure_is_the_first_and_float64(kind):
    value = np.ones((2, 11, 11, 3), np.uint8)
    figures = fidelity(kind, value, value)
    assert next(iter(figures)) == PRIMARY[kind]
    assert all(figure.dtype == np.float64 and figure.shape == (2,) for figure in figures.values())


@pytest.mark.parametrize("kind", PRIMARY)
def test_nothing_to_compare_gives_empty_figures(kind):
    nothing = np.empty((0, 16, 16, 3), np.uint8)
    assert all(figure.shape == (0,) for figure in fidelity(kind, nothing, nothing).values())


@pytest.mark.parametrize(
    ("kind", "output", "reference", "error", "message"),
    [
        ("video", np.zeros(3), np.zeros(3), ConfigError, "'video'; expected one of"),
        ("image", np.zeros((1, 16, 16, 3), np.uint8), [], DataError, "1 outputs against 0"),
        ("tokens", [np.arange(3)], [np.arange(4)], DataError, r"output 0 is \(3,\), its reference"),
        ("tokens", [np.arange(0)], [np.arange(0)], DataError, "output 0 is empty"),
        ("embedding", [np.array([np.nan])], [np.ones(1)], DataError, "output 0 .* not finite"),
        ("embedding", [np.ones(1)], [np.array([np.inf])], DataError, "reference 0 .* not finite"),
        ("embedding", [np.zeros(2)], [np.ones(2)], DataError, "no direction"),
        ("image", np.zeros((1, 16, 16, 3)), np.zeros((1, 16, 16, 3)), DataError, "expected uint8"),
        (
            "image",
            np.zeros((1, 10, 16, 3), np.uint8),
            np.zeros((1, 10, 16, 3), np.uint8),
            DataError,
            "needs both sides to be 11",
        ),
    ],
)
def test_what_cannot_be_compared_is_an_error(kind, output, reference, error, message):
    with pytest.raises(error, match=message):
        fidelity(kind, output, reference)
