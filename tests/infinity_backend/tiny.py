"""Small random Infinity models for tests, with everything that a pipeline folder holds."""

from dataclasses import replace
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from base.torchvision_stub import import_torchvision
from infinity_backend.architecture import InfinityConfig, VAEConfig
from infinity_backend.config import PipelineConfig, PruningConfig, SamplingConfig
from infinity_backend.generate import Stepper
from infinity_backend.generator import InfinityGenerator
from infinity_backend.pipeline import InfinityPipeline
from infinity_backend.request import ImageRequest
from infinity_backend.text_encoder import TextEncoder
from infinity_backend.transformer import Infinity
from infinity_backend.vae import VAE

SCHEDULE = ((1, 1), (2, 2), (3, 3), (4, 4), (6, 6))
WORDS = ["a", "the", "red", "green", "blue", "circle", "square", "big", "small", "on", "left"]
PROMPTS = ("a red circle", "a big green square on the left", "blue", "the small red square")


def tiny_config(**changes: Any) -> PipelineConfig:
    """A configuration of a few thousand weights; `changes` replace parts of it."""
    transformer = InfinityConfig(
        depth=4,
        embed_dim=32,
        num_heads=2,
        bits=8,
        text_channels=128,
        text_maxlen=12,
        mlp_ratio=8,
        block_chunks=2,
    )
    vae = VAEConfig(codebook_dim=8, base_ch=32, ch_mult=(1, 1), patch_size=4, stem_patch=2)
    return PipelineConfig(
        name="tiny",
        infinity=replace(transformer, **changes.pop("infinity", {})),
        vae=changes.pop("vae", vae),
        schedule=changes.pop("schedule", SCHEDULE),
        rope_grid=(6, 6),
        sampling=changes.pop("sampling", SamplingConfig(cfg=2.0, tau=0.7, top_k=0, top_p=0.0)),
        pruning=changes.pop("pruning", PruningConfig(1, 2, cache_tokens=9)),
    )


def tiny_text_encoder(channels: int) -> TextEncoder:
    """A one-layer T5 encoder with a vocabulary of a few words."""
    import_torchvision()
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    vocabulary = {token: index for index, token in enumerate(["<pad>", "<unk>", *WORDS, "</s>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", vocabulary["</s>"])]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    config = T5Config(
        vocab_size=len(vocabulary),
        d_model=channels,
        d_kv=16,
        d_ff=64,
        num_layers=1,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
    )
    return TextEncoder(T5EncoderModel(config).eval().requires_grad_(False), fast, max_tokens=12)


def tiny_stepper(config: PipelineConfig) -> Stepper:
    """Random weights, large enough in scale for bits to be decided."""
    model, vae = Infinity(config.infinity), VAE(config.vae)
    for name, weight in model.named_parameters():
        if name.endswith(("proj.weight", "fc2.weight", "head.weight", "word_embed.weight")):
            weight.data.mul_(4.0)
        if name.endswith("bias"):
            weight.data.normal_(std=0.1)
    return Stepper(model.eval().requires_grad_(False), vae.eval().requires_grad_(False), config)


def tiny_pipeline(seed: int = 0, **changes: Any) -> InfinityPipeline:
    """A pipeline of such a model and a small text encoder."""
    config = tiny_config(**changes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        stepper = tiny_stepper(config)
        encoder = tiny_text_encoder(config.infinity.text_channels)
    return InfinityPipeline(stepper, encoder, weights_hash=f"random {seed}")


def tiny_generator(seed: int = 0, **changes: Any) -> InfinityGenerator:
    """The same behind the protocol."""
    return InfinityGenerator(tiny_pipeline(seed, **changes))


def requests(count: int = 4) -> list[ImageRequest]:
    """Requests with prompts of different lengths."""
    return [ImageRequest(PROMPTS[index % len(PROMPTS)], seed=index) for index in range(count)]
