"""Prompts to features through a T5 encoder, remembered per prompt.

Shapes: B prompts, T tokens of the longest, D_t channels.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from base.errors import CheckpointError
from base.files import read_json
from base.tensor_cache import TensorCache
from base.torchvision_stub import import_torchvision
from base.weight_files import check_finite, check_weights_file
from infinity_backend.cost import t5_encoder_flops
from infinity_backend.text import TextCondition

logger = logging.getLogger(__name__)
MEMORY_BYTES = 256 * 2**20
DISK_BYTES = 2 * 2**30


@dataclass
class TextEncoder:
    """A T5 encoder and its tokenizer.

    Attributes:
        model: a `transformers.T5EncoderModel`.
        tokenizer: the tokenizer that belongs to it.
        max_tokens: longer prompts are cut there, with a warning.
        kept: features of prompts that were encoded, within a limit; see `keep_in`.
        identity: of the weights, for features on disk.
    """

    model: Any
    tokenizer: Any
    max_tokens: int = 512
    kept: TensorCache = field(default_factory=lambda: TensorCache("text", MEMORY_BYTES), repr=False)
    identity: str = ""
    _lengths: dict[str, int] = field(default_factory=dict, repr=False)

    @classmethod
    def from_pretrained(cls, folder: str | Path, max_tokens: int = 512) -> "TextEncoder":
        """Load from a folder in the format of `transformers` (config.json, safetensors, tokenizer).

        Raises:
            CheckpointError: the folder is missing or cannot be read.
        """
        import_torchvision()  # transformers looks for it
        from transformers import AutoTokenizer, T5EncoderModel
        from transformers.utils import logging as transformers_logging

        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise CheckpointError(
                f"{folder} holds no text encoder (config.json is missing); expected a T5 encoder "
                "as `transformers` saves it, such as flan-t5-xl"
            )
        for part in sorted(folder.iterdir()):
            if part.suffix in (".json", ".safetensors", ".bin", ".model"):
                check_weights_file(part, holds_json=part.suffix == ".json")
        if not any((folder / name).is_file() for name in ("tokenizer.json", "spiece.model")):
            raise CheckpointError(
                f"{folder} holds no tokenizer (tokenizer.json is missing); expected the whole "
                "folder of flan-t5-xl, tokenizer and weights"
            )
        transformers_logging.disable_progress_bar()  # it would tear the caller's own bars
        try:
            model = T5EncoderModel.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # transformers raises many kinds; all mean the same here
            raise CheckpointError(
                f"the text encoder in {folder} cannot be read: {str(error).rstrip('. ')}. A file "
                "may be damaged, or missing after a partial copy; copy the folder again"
            ) from error
        check_finite(model.state_dict(), folder)
        return cls(model.eval().requires_grad_(False), tokenizer, max_tokens)

    @staticmethod
    def estimate_bytes(folder: str | Path) -> int:
        """What the weights of the encoder in a folder take in float32; only its config is read.

        Raises:
            CheckpointError: there is no such folder, or no readable config.json.
        """
        settings_file = Path(folder) / "config.json"
        check_weights_file(settings_file, holds_json=True)
        settings = read_json(settings_file)
        try:
            width, hidden = settings["d_model"], settings["d_ff"]
            inner = settings["num_heads"] * settings["d_kv"]
            gated = settings.get("feed_forward_proj", "relu").startswith("gated")
            matrices = 4 * width * inner + (3 if gated else 2) * width * hidden
            weights = settings["vocab_size"] * width + settings["num_layers"] * matrices
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{settings_file} is not that of a T5 encoder ({error!r}); expected flan-t5-xl or "
                "one like it"
            ) from None
        return 4 * weights

    def keep_in(self, folder: str | Path | None, identity: str, memory_bytes: int) -> None:
        """Keep features elsewhere from now on.

        Args:
            folder: on disk, where several encoders may keep theirs; `None`: in memory only.
            identity: of the weights: features of others are not taken for one's own.
            memory_bytes: how much memory they may take.
        """
        self.kept = TensorCache("text", memory_bytes, folder, DISK_BYTES)
        self.identity = identity

    def length(self, prompt: str) -> int:
        """Tokens of a prompt, the end of the sequence counted."""
        if prompt not in self._lengths:
            self._lengths[prompt] = len(self._token_ids(prompt))
        return self._lengths[prompt]

    def flops(self, prompt: str) -> int:
        """What encoding the prompt costs."""
        return t5_encoder_flops(self.model.config, self.length(prompt))

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> TextCondition:
        """Features of the prompts: those that are not kept are encoded, one padded batch of them.

        Words outside the vocabulary and prompts that are cut are logged as warnings.
        """
        rows: dict[str, Tensor] = {}
        new = []
        for prompt in dict.fromkeys(prompts):
            kept = self.kept.get(self._key(prompt))
            if kept is None:
                new.append(prompt)
            else:
                rows[prompt] = kept["features"]
        for start in range(0, len(new), 64):
            rows |= self._encode(new[start : start + 64])
        device = next(self.model.parameters()).device
        features = [rows[prompt].to(device) for prompt in prompts]
        return TextCondition.from_compact(torch.cat(features), [len(row) for row in features])

    def _key(self, prompt: str) -> str:
        return f"{self.identity} {self.max_tokens} {prompt}"

    def _encode(self, prompts: list[str]) -> dict[str, Tensor]:
        ids = [self._token_ids(prompt) for prompt in prompts]
        device = next(self.model.parameters()).device
        batch = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(device)
        features = self.model(**batch).last_hidden_state.float()  # [B, T, D_t]
        rows = {}
        for prompt, row, tokens in zip(prompts, features, ids, strict=True):
            rows[prompt] = row[: len(tokens)].clone()
            self.kept.put(self._key(prompt), {"features": rows[prompt]})
            self._lengths[prompt] = len(tokens)
        return rows

    def _token_ids(self, prompt: str) -> list[int]:
        ids = self.tokenizer(prompt, truncation=False)["input_ids"]
        if len(ids) > self.max_tokens:
            logger.warning(
                "the prompt %.60r... has %d tokens and is cut to %d",
                prompt,
                len(ids),
                self.max_tokens,
            )
            ids = [*ids[: self.max_tokens - 1], self.tokenizer.eos_token_id]
        unknown = self.tokenizer.unk_token_id
        if unknown is not None and unknown in ids and prompt not in self._lengths:
            words = [
                word
                for word in dict.fromkeys(prompt.split())
                if unknown in self.tokenizer(word, add_special_tokens=False)["input_ids"]
            ]
            logger.warning(
                "the text encoder does not know %s in the prompt %.80r; it reads them as blanks",
                ", ".join(repr(word) for word in words),
                prompt,
            )
        return ids
