"""PoseFormer and PTN: what no recorded case covers (those: conformance)."""

import pytest
import torch

from base.errors import ConfigError
from sign_backend.embed import pad, prepare
from sign_backend.positions import sinusoids
from tests.sign_backend.tiny import tiny_clip, tiny_config, tiny_model

V03 = {"model_name": "PTN", "generation": "v0.3", "d_pose": 201, "data_kind": "Mediapipe_Cleaned"}
FAMILIES = {
    "PoseFormer": {},
    "PoseFormer, languages": {"multilingual_conditioned": True, "num_classes": (3, 2)},
    "PTN": {"model_name": "PTN"},
    "PTN, linear": {"model_name": "PTN", "no_pose_embedding": True},
    "PTN v0.3": V03,
    "PTN v0.3, joints": V03 | {"pose_embedding_kind": "attn", "d_hidden": 128},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_clip_gives_what_it_gives_alone(family):
    model = tiny_model(**FAMILIES[family])
    clips = [prepare(tiny_clip(frames, frames), model.config) for frames in (9, 14, 5)]
    together = model(pad(clips), None, torch.tensor([9, 14, 5]))
    alone = torch.cat([model(pad([clip])) for clip in clips])
    assert torch.allclose(together, alone, atol=1e-5)
    assert together.shape == (3, 5)


def test_frames_with_nobody_do_not_break_that():
    model = tiny_model()
    clips = [prepare(tiny_clip(frames, frames), model.config) for frames in (9, 14, 5)]
    clips[0][:] = 0.0  # nobody in the whole clip
    clips[2][2] = 0.0  # nor in one frame of another
    together = model(pad(clips), None, torch.tensor([9, 14, 5]))
    alone = torch.cat([model(pad([clip])) for clip in clips])
    assert torch.allclose(together, alone, atol=1e-5)


def test_as_the_original_pads_the_end_of_a_clip_leaks():
    model = tiny_model()
    clips = [prepare(tiny_clip(frames, frames), model.config) for frames in (9, 14)]
    leaking, alone = model(pad(clips)), model(pad(clips[:1]))
    assert (leaking[0] - alone[0]).abs().max() > 1e-3


@pytest.mark.parametrize("family", ["PoseFormer", "PTN"])
def test_clips_beyond_the_stored_table_of_positions(family):
    model = tiny_model(**FAMILIES[family])
    clip = prepare(tiny_clip(1300), model.config)
    long = model(pad([clip]))
    table = model.pos_embed if family == "PoseFormer" else model.pos_enc
    assert torch.equal(table.rows(1300), sinusoids(1300, 8))
    assert torch.isfinite(long).all()


def test_a_language_changes_the_scores_only():
    model = tiny_model(**FAMILIES["PoseFormer, languages"])
    clip = pad([prepare(tiny_clip(9), model.config)])
    one, other = (model(clip, torch.tensor([index])) for index in (0, 1))
    assert torch.equal(one, model(clip))
    assert not torch.allclose(one, other)


def test_joint_attention_sees_each_frame_by_itself():
    model = tiny_model(**FAMILIES["PTN v0.3, joints"])
    features = pad([prepare(tiny_clip(6), model.config)])
    whole = model.pose_embedding(features)
    assert whole.shape == (6, 1, 128)
    assert torch.allclose(whole[2:3], model.pose_embedding(features[2:3]), atol=1e-6)
    names = model.state_dict()
    assert names["pose_embedding.embedding.weight"].shape == (8, 3)
    assert names["pose_embedding.attention.layers.11.linear1.weight"].shape == (16, 8)
    assert names["pose_embedding.output_layer.weight"].shape == (128, 536)


def test_without_variable_lengths_nothing_is_masked():
    model = tiny_model(**V03, variable_length_sequences=False)
    clips = [prepare(tiny_clip(frames, frames), model.config) for frames in (5, 9)]
    assert torch.equal(model(pad(clips), None, torch.tensor([5, 9])), model(pad(clips)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_name": "VTN"}, "VTN"),
        ({"data_kind": "OpenPose"}, "Mediapipe"),
        ({"d_hidden": 9}, "multiple"),
        ({"num_attention_layers": 0}, "from 1"),
        ({"num_classes": ()}, "num_classes"),
        ({"d_pose": 201}, "134 values"),
        (V03 | {"pose_embedding_kind": "attn"}, "d_hidden 128"),
        ({"l1_label_norm": True, "num_classes": (2, 3)}, "one language"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        tiny_config(**changes)
