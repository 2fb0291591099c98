"""The model: embeddings, encoder, decoder, heads.

Glossary of shapes: B rows, N context tokens, M queries, D width, V vocabulary, R register tokens.
Masks are True where something is ignored.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from base.errors import ConfigError
from fourm_backend.config import ModelConfig
from fourm_backend.embeddings import ENCODERS, Decoder, Encoder
from fourm_backend.layers import DecoderBlock, EncoderBlock, KeysValues, Norm, Past


class FourM(nn.Module):
    """A frozen 4M or EgoM2P; names of parameters are those of the published weights."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        architecture = config.architecture
        dim = architecture.dim
        self.encoder_embeddings = nn.ModuleDict(
            {
                name: ENCODERS[entry.kind](entry, architecture)
                for name, entry in config.inputs.items()
            }
        )
        self.decoder_embeddings = nn.ModuleDict(
            {name: Decoder(entry, architecture) for name, entry in config.outputs.items()}
        )
        self.encoder = nn.ModuleList(
            EncoderBlock(architecture) for _ in range(architecture.encoder_depth)
        )
        self.encoder_norm = Norm(dim, architecture.norm_bias)
        self.decoder_proj_context = nn.Linear(dim, dim)
        self.decoder = nn.ModuleList(
            DecoderBlock(architecture) for _ in range(architecture.decoder_depth)
        )
        self.decoder_norm = Norm(dim, architecture.norm_bias)
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        if architecture.num_register_tokens:
            count = architecture.num_register_tokens
            self.register_tokens = nn.Parameter(0.02 * torch.randn(1, count, dim))
        self.tie()

    def tie(self) -> None:
        """Let names of one tensor share it: once built, and again after weights were assigned."""
        architecture = self.config.architecture
        for name in self.decoder_embeddings:
            decoder = self.target(name)
            if architecture.share_embedding:
                decoder.to_logits.weight = decoder.token_emb.weight
            if architecture.share_modality_embeddings and name in self.encoder_embeddings:
                decoder.mod_emb = self.input(name).mod_emb

    def input(self, name: str) -> Encoder:
        """The encoder's embedding of a modality."""
        return cast(Encoder, self.encoder_embeddings[name])

    def target(self, name: str) -> Decoder:
        """The decoder's embedding of a modality.

        Raises:
            ConfigError: the model cannot make it.
        """
        if name not in self.decoder_embeddings:
            raise ConfigError(
                f"this model cannot make {name!r}; it makes {sorted(self.decoder_embeddings)}"
            )
        return cast(Decoder, self.decoder_embeddings[name])

    def with_registers(
        self, content: Tensor, places: Tensor, ignored: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Put the register tokens, if there are any, before packed tokens [B, N, D]."""
        registers: Tensor | None = getattr(self, "register_tokens", None)
        if registers is None:
            return content, places, ignored
        rows, count = len(content), registers.shape[1]
        content = torch.cat([registers.expand(rows, -1, -1), content], dim=1)
        places = torch.cat([torch.zeros_like(content[:, :count]), places], dim=1)
        if ignored is not None:
            ignored = torch.cat([ignored.new_zeros(rows, 1, count), ignored], dim=2)
        return content, places, ignored

    def encode(
        self, x: Tensor, ignored: Tensor | None, past: Sequence[KeysValues] | None = None
    ) -> tuple[Tensor, list[KeysValues]]:
        """Run the encoder.

        Args:
            x: [B, N, D] content plus places.
            ignored: [B, 1, N] bool or None.
            past: keys and values of tokens encoded earlier, one a block; x looks at them, too.

        Returns:
            [B, N, D] after the last norm, and keys and values of x and the past, one a block.
        """
        kept = []
        for index, block in enumerate(self.encoder):
            x, context = block(x, ignored, None if past is None else past[index])
            kept.append(context)
        return self.encoder_norm(x), kept

    def context(self, encoded: Tensor, places: Tensor) -> Tensor:
        """[B, N, D]: what the decoder looks at."""
        return self.decoder_proj_context(encoded) + places

    def context_keys(self, context: Tensor) -> list[KeysValues]:
        """Keys and values of a context, one a block of the decoder."""
        return [cast(DecoderBlock, block).keys_values(context) for block in self.decoder]

    def decode(
        self,
        y: Tensor,
        context: Sequence[KeysValues],
        context_ignored: Tensor | None = None,
        self_ignored: Tensor | None = None,
        past: Sequence[Past] | None = None,
    ) -> tuple[Tensor, list[Past]]:
        """Run the decoder.

        Args:
            y: [B, M, D] queries.
            context: from `context_keys`.
            context_ignored: [B, 1, N] bool or None.
            self_ignored: [B, M, M] bool or None where all queries see one another.
            past: keys and values of queries decoded earlier, one a block.

        Returns:
            [B, M, D] after the last norm, and keys and values of y and the past.
        """
        kept = []
        blocks: Any = zip(self.decoder, context, strict=True)
        for index, (block, looked_at) in enumerate(blocks):
            before = None if past is None else past[index]
            y, own = block(y, looked_at, context_ignored, self_ignored, before)
            kept.append(own)
        return self.decoder_norm(y), kept
