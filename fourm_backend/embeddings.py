"""From what a sample holds to vectors, one module a modality and side; decoders have a head too.

Encoder modules give content and place of every token, decoder modules the place of every target.

Glossary of shapes: B rows, L tokens of the modality, D width, V vocabulary, E embedding width.
Masks are True where a token is not used.
"""

import torch
from torch import Tensor, nn

from base.errors import ConfigError
from fourm_backend.config import Architecture
from fourm_backend.modalities import SEQUENCE_POSITIONS, Modality
from fourm_backend.positions import position_table


class Embedding(nn.Module):
    """The table of places and the mark of the modality, shared by all kinds."""

    pos_emb: Tensor

    def __init__(self, modality: Modality, config: Architecture):
        super().__init__()
        self.modality = modality
        text = modality.kind in ("sequence", "sequence_embeddings")
        grid = (SEQUENCE_POSITIONS,) if text else modality.grid
        table = position_table(grid, config.dim)
        if modality.learned_positions:
            self.pos_emb = nn.Parameter(0.02 * torch.randn_like(table))
        else:
            self.register_buffer("pos_emb", table)
        self.mod_emb = nn.Parameter(0.02 * torch.randn(1, 1, config.dim))

    def fixed_places(self, rows: int) -> Tensor:
        """[B, L, D]: the whole table, where each token has a place of its own."""
        return (self.pos_emb + self.mod_emb).expand(rows, -1, -1)

    def counted_places(self, unused: Tensor, limit: int | None = None) -> Tensor:
        """[B, L, D]: tokens are numbered as they come, unused ones have no place.

        Args:
            unused: [B, L] bool.
            limit: numbers from this one on become 0.
        """
        number = (~unused).cumsum(1) - 1
        if limit is not None:
            number = torch.where(number >= limit, 0, number)
        places = self.pos_emb[0][number.clamp(min=0)]
        return torch.where(unused[..., None], 0.0, places) + self.mod_emb


class Encoder(Embedding):
    """What all encoder modules give."""

    def content(self, tensor: Tensor) -> Tensor:
        """[B, L, D] of what a sample holds."""
        raise NotImplementedError

    def places(self, unused: Tensor) -> Tensor:
        """[B, L, D] of tokens of which these [B, L] are not used."""
        return self.fixed_places(len(unused))


class TokenEncoder(Encoder):
    """Token ids with fixed places: pictures, video, motion."""

    def __init__(self, modality: Modality, config: Architecture):
        super().__init__(modality, config)
        self.token_emb = nn.Embedding(modality.vocab_size, config.dim)

    def content(self, tensor: Tensor) -> Tensor:
        """[B, L, D] of ids [B, L] (or [B, ...] with as many entries)."""
        ids = tensor.flatten(1)
        if ids.shape[1] != self.pos_emb.shape[1]:
            raise ConfigError(
                f"{self.modality.name} has {ids.shape[1]} tokens; the model has a grid of "
                f"{self.modality.grid}, {self.pos_emb.shape[1]} tokens"
            )
        return self.token_emb(ids.long())


class PixelEncoder(Encoder):
    """Pixels, [B, C, height, width], in patches."""

    def __init__(self, modality: Modality, config: Architecture):
        super().__init__(modality, config)
        assert modality.patch_size is not None
        self.proj = nn.Linear(modality.patch_size**2 * modality.channels, config.dim, bias=False)

    def content(self, tensor: Tensor) -> Tensor:
        """[B, L, D]; inside of a patch the channel runs fastest."""
        if tuple(tensor.shape[2:]) != self.modality.image_size:
            raise ConfigError(
                f"{self.modality.name} is {tuple(tensor.shape[2:])}; the model takes "
                f"{self.modality.image_size} pixels"
            )
        size = self.modality.patch_size
        assert size is not None
        patches = tensor.unfold(2, size, size).unfold(3, size, size)  # [B, C, h, w, size, size]
        patches = patches.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)
        return self.proj(patches.to(self.proj.weight.dtype))


class SequenceEncoder(Encoder):
    """Text-like ids [B, L]."""

    def __init__(self, modality: Modality, config: Architecture):
        super().__init__(modality, config)
        self.token_emb = nn.Embedding(modality.vocab_size, config.dim)

    def content(self, tensor: Tensor) -> Tensor:
        return self.token_emb(tensor.long())

    def places(self, unused: Tensor) -> Tensor:
        return self.counted_places(unused)


class VectorEncoder(Encoder):
    """Continuous vectors [B, L, E], such as those of T5."""

    def __init__(self, modality: Modality, config: Architecture):
        super().__init__(modality, config)
        self.emb_proj = nn.Linear(modality.channels, config.dim)

    def content(self, tensor: Tensor) -> Tensor:
        return self.emb_proj(tensor.to(self.emb_proj.weight.dtype))

    def places(self, unused: Tensor) -> Tensor:
        return self.counted_places(unused)


class Decoder(Embedding):
    """Places of targets, and the head that gives logits."""

    def __init__(self, modality: Modality, config: Architecture):
        super().__init__(modality, config)
        self.token_emb = nn.Embedding(modality.vocab_size, config.dim)
        self.to_logits = nn.Linear(config.dim, modality.vocab_size, bias=False)
        if config.share_embedding:
            self.to_logits.weight = self.token_emb.weight

    def places(self, unused: Tensor) -> Tensor:
        if self.modality.kind == "sequence":
            return self.counted_places(unused, limit=self.modality.max_length)
        return self.fixed_places(len(unused))


ENCODERS: dict[str, type[Encoder]] = {
    "image_tokens": TokenEncoder,
    "video_tokens": TokenEncoder,
    "motion_tokens": TokenEncoder,
    "image_pixels": PixelEncoder,
    "sequence": SequenceEncoder,
    "sequence_embeddings": VectorEncoder,
}
