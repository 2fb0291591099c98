"""The small text encoder: a word-level tokenizer and a T5 encoder that learns to read first.

Trained alone, before the transformer: every token of an object's phrase predicts the five
attributes of its own object. Without this it stays a bag of words.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn

from base.torchvision_stub import import_torchvision
from scenes.loop import StepLoss
from scenes.world import (
    COLOURS,
    FILLS,
    GROUNDS,
    PLACES,
    SHAPES,
    SIZES,
    Scene,
    draw_scenes,
)

import_torchvision()  # transformers imports it
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel  # noqa: E402

MAX_TOKENS = 48  # four objects and the ground need 45
FIELDS = {"size": SIZES, "fill": FILLS, "colour": COLOURS, "shape": SHAPES, "place": PLACES}
GROUND_FIELDS = {"ground": GROUNDS, "ground_colour": COLOURS}
_NONE = -100  # a target that does not count


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word of the world; anything else is `<unk>`.

    The end-of-text token has the largest id, where CLIP's text pooling looks for it.
    """
    words = {"a", "at", "the", "and", "on", "background"}
    for entries in (*FIELDS.values(), GROUNDS):
        words.update(word for entry in entries for word in entry.split())
    tokens = ["<pad>", "<unk>", *sorted(words), "</s>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", vocabulary["</s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=MAX_TOKENS,
    )


def make_text_encoder(
    tokenizer: PreTrainedTokenizerFast, width: int, layers: int
) -> T5EncoderModel:
    """A T5 encoder whose relative positions are told apart from the first step on."""
    encoder = T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=width,
            d_kv=32,
            d_ff=2 * width,
            num_layers=layers,
            num_heads=width // 32,
            relative_attention_num_buckets=64,
            relative_attention_max_distance=64,
            feed_forward_proj="gated-gelu",
            dropout_rate=0.0,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    first_block: Any = encoder.encoder.block[0]
    bias = first_block.layer[0].SelfAttention.relative_attention_bias
    nn.init.normal_(bias.weight, std=2.0)
    return encoder


def tokens_of(captions: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> tuple[Tensor, Tensor]:
    """Captions to token ids [B, T] and mask [B, T] (1 where there is a word)."""
    encoded = tokenizer(
        list(captions), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
    )
    return encoded["input_ids"], encoded["attention_mask"]


def targets_of(scenes: Sequence[Scene], length: int) -> dict[str, Tensor]:
    """For each token the attributes of its own object or ground: name to [B, T], -100 elsewhere."""
    names = [*FIELDS, *GROUND_FIELDS]
    targets = {name: np.full((len(scenes), length), _NONE) for name in names}
    for row, scene in enumerate(scenes):
        start = 0
        for thing in scene.things:
            stop = start + len(thing.phrase.split())
            for name, words in FIELDS.items():
                targets[name][row, start:stop] = words.index(getattr(thing, name))
            start = stop + 1  # the word 'and', or 'on'
        for name, words in GROUND_FIELDS.items():
            targets[name][row, start - 1 : start + 4] = words.index(getattr(scene, name))
    return {name: torch.from_numpy(values) for name, values in targets.items()}


class AttributeHeads(nn.Module):
    """One linear classifier per attribute; dropped after training."""

    def __init__(self, width: int):
        super().__init__()
        self.heads = nn.ModuleDict(
            {name: nn.Linear(width, len(w)) for name, w in {**FIELDS, **GROUND_FIELDS}.items()}
        )

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Features [B, T, D] to logits by attribute, each [B, T, classes]."""
        return {name: head(features) for name, head in self.heads.items()}


def text_loss(
    encoder: T5EncoderModel,
    heads: AttributeHeads,
    tokenizer: PreTrainedTokenizerFast,
    batch: int,
) -> StepLoss:
    """Cross-entropy of all attributes at all tokens, and the share that is right."""

    def loss_of(step: int, rng: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
        scenes = draw_scenes("train", batch, rng)
        ids, mask = tokens_of([scene.caption for scene in scenes], tokenizer)
        features = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        targets = targets_of(scenes, ids.shape[1])
        logits = heads(features)
        losses = [
            F.cross_entropy(logits[name].flatten(0, 1), targets[name].flatten(), ignore_index=_NONE)
            for name in targets
        ]
        return torch.stack(losses).mean(), {"right": attributes_right(logits, targets)}

    return loss_of


def attributes_right(logits: dict[str, Tensor], targets: dict[str, Tensor]) -> float:
    """Share of (token, attribute) pairs that are predicted right."""
    right = total = 0
    for name, target in targets.items():
        counted = target != _NONE
        right += int((logits[name].argmax(-1) == target)[counted].sum())
        total += int(counted.sum())
    return right / total
