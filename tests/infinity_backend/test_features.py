import numpy as np

from infinity_backend.features import STATISTICS
from infinity_backend.request import ImageRequest
from tests.infinity_backend.tiny import PROMPTS, tiny_generator


def test_columns_tell_of_the_codes_and_stay_within_bounds():
    generator = tiny_generator()
    state = generator.begin([ImageRequest(prompt, 3) for prompt in PROMPTS])
    for _ in range(generator.max_stages):
        state = generator.advance(state, [{}] * len(PROMPTS))
    names = generator.feature_names
    assert generator.feature_names == names
    columns = dict(zip(names, generator.features(state).T, strict=True))
    codes = state.codes.numpy()
    np.testing.assert_allclose(columns["mean_2"], codes[:, 2].mean((1, 2)), atol=1e-6)
    size = np.sqrt(np.square(codes).sum(1).mean((1, 2)))
    np.testing.assert_allclose(columns["codes_size"], size, rtol=1e-5)
    assert all(np.abs(columns[name]).max() < 5 for name in STATISTICS)
