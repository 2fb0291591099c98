"""Kinds, hooks, aspect ratios and languages (numbers: conformance)."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from base.errors import ConfigError
from sign_backend.clip import Keypoints
from sign_backend.embed import embed, prepare, ratio_of
from tests.sign_backend.tiny import tiny_clip, tiny_config, tiny_model

PTN_V03 = {"model_name": "PTN", "generation": "v0.3", "d_pose": 201}
SHAPES = {
    "spatial": (9, 8),
    "temporal": (9, 8),
    "CLS": (8,),
    "probabilities": (5,),
    "logits": (5,),
    "softmax": (5,),
}


@pytest.mark.parametrize("family", [{}, {"model_name": "PTN"}, PTN_V03])
@pytest.mark.parametrize("padded", [False, True])
def test_shapes_of_every_kind(family, padded):
    model = tiny_model(**family)
    clips = [prepare(tiny_clip(frames), model.config) for frames in (9, 12)]
    for kind, shape in SHAPES.items():
        first, second = embed(model, clips, kind, reference_padding=padded)
        assert first.shape == shape and first.dtype == np.float32
        assert second.shape == ((12, 8) if len(shape) == 2 else shape)


def test_threads_may_share_a_model():
    model = tiny_model()
    clips = [prepare(tiny_clip(frames, frames), model.config) for frames in range(4, 36)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda clip: embed(model, [clip], "CLS")[0], clips * 4))
    np.testing.assert_array_equal(together, embed(model, clips * 4, "CLS"))


def test_clips_never_touch_each_other():
    model = tiny_model()
    clips = [prepare(tiny_clip(frames, frames), model.config) for frames in (9, 30, 4)]
    for kind in SHAPES:
        together = embed(model, clips, kind)
        for clip, values in zip(clips, together, strict=True):
            assert np.array_equal(embed(model, [clip], kind)[0], values)


def test_scores_have_three_names():
    model = tiny_model()
    clip = [prepare(tiny_clip(9), model.config)]
    raw, same, soft = (embed(model, clip, k)[0] for k in ("probabilities", "logits", "softmax"))
    assert np.array_equal(raw, same)
    assert np.isclose(soft.sum(), 1) and np.allclose(np.exp(raw) / np.exp(raw).sum(), soft)


def test_hooks_as_documented():
    model, seen = tiny_model(), []
    clip = torch.from_numpy(prepare(tiny_clip(9), model.config))[:, None]
    model.setup_inference_hook("temporal", lambda module, given, output: seen.append(output))
    model.setup_inference_hook("probabilities", lambda *_: pytest.fail("needs no hook"))
    model(clip)
    assert [tuple(each.shape) for each in seen] == [(1, 10, 8)]
    with pytest.raises(ConfigError, match="has a hook already"):
        model.setup_inference_hook("temporal", print)
    model.reset_inference_hook("temporal")
    model(clip)
    assert len(seen) == 1
    with pytest.raises(ConfigError, match="has no hook"):
        model.reset_inference_hook("temporal")
    with pytest.raises(ValueError, match="expected one of spatial"):
        model.setup_inference_hook("spacial", print)


def test_where_the_aspect_ratio_comes_from():
    one, many = tiny_config(), tiny_config(num_classes=(2, 3), source_aspect_ratio=(0.5, 0.75))
    assert ratio_of(one, 0, "checkpoint") == 0.5625
    assert [ratio_of(many, language, "checkpoint") for language in (0, 1)] == [0.5, 0.75]
    assert ratio_of(many, 0, 1.25) == 1.25
    assert ratio_of(one, 0, "video") is None
    assert ratio_of(tiny_config(**PTN_V03), 0, "checkpoint") is None
    with pytest.raises(ConfigError, match="source_aspect_ratio"):
        ratio_of(tiny_config(source_aspect_ratio=()), 0, "checkpoint")


def test_the_measured_aspect_ratio_reaches_the_model():
    square = Keypoints(tiny_clip(9).points, 400, 400)
    config = tiny_config()
    as_number = prepare(square, config, aspect=1.0)
    assert np.array_equal(prepare(square, config, aspect="video"), as_number)
    assert not np.array_equal(prepare(square, config), as_number)
    cleaned = tiny_config(**PTN_V03, data_kind="Mediapipe_Cleaned")
    assert np.array_equal(prepare(square, cleaned), prepare(square, cleaned, aspect=1.0))
    assert not np.allclose(prepare(tiny_clip(9), cleaned), prepare(square, cleaned))


def test_raw_features_of_v03_are_neither_filled_nor_scaled():
    clip = tiny_clip(9)
    features = prepare(clip, tiny_config(**PTN_V03, data_kind="Mediapipe_Raw"))
    assert np.array_equal(features[:, :3], clip.points[:, 0].astype(np.float32))
    assert not features[np.isnan(clip.points[:, 33, 0]), 75:138].any()


def test_frames_in_which_joints_coincide(caplog):
    points = tiny_clip(9).points.copy()
    points[4, 12] = points[4, 11]
    clip, model = Keypoints(points, 360, 640), tiny_model()
    assert np.isfinite(embed(model, [prepare(clip, model.config)], "CLS")[0]).all()
    assert "body: joints coincide in 1 frames" in caplog.text
    as_original = prepare(clip, model.config, parity=True)
    assert not np.isfinite(embed(model, [as_original], "CLS")[0]).all()


def test_a_language_that_is_not_there():
    model = tiny_model(num_classes=(3, 2), multilingual_conditioned=True)
    clips = [prepare(tiny_clip(9), model.config)]
    assert not np.allclose(*(embed(model, clips, "logits", language=n)[0] for n in (0, 1)))
    for language in (-1, 2):
        with pytest.raises(ConfigError, match="knows 0 to 1"):
            embed(model, clips, "logits", language=language)


def test_a_very_long_clip_is_announced(caplog):
    model = tiny_model(num_attention_layers=1)
    values = embed(model, [prepare(tiny_clip(4100), model.config)], "temporal")[0]
    assert values.shape == (4100, 8) and np.isfinite(values).all()
    assert "4100 frames: attention may take" in caplog.text
