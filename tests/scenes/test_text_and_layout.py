import numpy as np
import torch

from scenes.text_encoder import FIELDS, MAX_TOKENS, make_tokenizer, targets_of, tokens_of
from scenes.train_clip import clip_config, clip_tokens, make_clip, save_clip
from scenes.train_transformer import layout_targets, random_flips
from scenes.train_vae import batch_of
from scenes.world import COLOURS, PLACES, draw_scene, parse, prompts

CAPTION = (
    "a small striped blue circle at the top left and a large plain red cross at the bottom right "
    "on a dotted green background"
)


def test_every_word_of_the_world_is_known_and_the_longest_caption_fits():
    tokenizer = make_tokenizer()
    captions = [draw_scene(np.random.default_rng(seed)).caption for seed in range(500)]
    ids, mask = tokens_of(captions, tokenizer)
    assert not (ids == tokenizer.unk_token_id).any()
    assert int(mask.sum(1).max()) <= 45 < MAX_TOKENS
    ends = ids[torch.arange(len(ids)), mask.sum(1) - 1]
    assert (ends == tokenizer.eos_token_id).all()
    assert tokenizer.eos_token_id == len(tokenizer) - 1


def test_a_foreign_word_becomes_unknown():
    tokenizer = make_tokenizer()
    assert tokenizer("a small mauve circle").input_ids[2] == tokenizer.unk_token_id


def test_each_word_is_asked_for_the_attributes_of_its_own_object():
    targets = targets_of([parse(CAPTION)], 24)
    words = CAPTION.split()
    second = words.index("large")
    assert targets["colour"][0, 0] == COLOURS.index("blue")
    assert targets["place"][0, 8] == PLACES.index("top left")
    assert targets["colour"][0, second] == COLOURS.index("red")
    assert targets["place"][0, second - 1] == PLACES.index("bottom right")  # its article
    assert (targets["size"][0, words.index("and")] == -100).all()
    assert targets["ground_colour"][0, words.index("dotted")] == COLOURS.index("green")
    assert all((targets[name][0, words.index("background")] == -100).all() for name in FIELDS)


def test_layout_targets_know_each_quarter_and_leave_the_middle_out():
    targets = layout_targets([parse(CAPTION)], [(1, 1), (2, 2), (3, 3)])
    nothing = len(COLOURS)
    blue, red = COLOURS.index("blue"), COLOURS.index("red")
    assert targets["colour"][0].tolist() == [
        *[-100],
        *[blue, nothing, nothing, red],
        *[blue, -100, nothing, -100, -100, -100, nothing, -100, red],
    ]
    assert (targets["ground_colour"] == COLOURS.index("green")).all()


def test_flips_reach_every_share_up_to_the_strongest():
    torch.manual_seed(0)
    flipped = random_flips(0.2)(0, torch.zeros(200, 8, 8, 32, dtype=torch.bool))
    shares = flipped.float().mean((1, 2, 3))
    assert shares.min() < 0.02
    assert 0.17 < shares.max() < 0.22
    assert abs(shares.mean() - 0.1) < 0.02


def test_a_saved_clip_is_read_back_by_open_clip(tmp_path):
    import open_clip
    from PIL import Image

    from scenes.render import render

    tokenizer = make_tokenizer()
    config = clip_config(tokenizer, 32, 1)
    torch.manual_seed(0)
    clip = make_clip(config).eval()
    save_clip(clip, config, tokenizer, tmp_path)
    loaded, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    tokenize = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    scenes = prompts("validation", 3)
    ids = tokenize([scene.caption for scene in scenes])
    assert torch.equal(ids, clip_tokens([scene.caption for scene in scenes], tokenizer))
    images, _ = batch_of(scenes, [2, 2, 2])
    prepared = torch.stack([prepare(Image.fromarray(render(scene, 2))) for scene in scenes])
    assert torch.allclose(prepared, images, atol=1e-6)
    with torch.no_grad():
        assert torch.allclose(loaded.eval().encode_text(ids), clip.encode_text(ids), atol=1e-2)
