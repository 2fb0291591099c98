"""A chain whose outputs can be seen: the tokenizer of a target lies beside the model.

Shapes: n outputs, L tokens of a target, h x w cells, H x W pixels.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fourm_backend.cost import rebuild_flops
from fourm_backend.detokenize import as_picture
from fourm_backend.generator import FourMGenerator, hash_weights
from fourm_backend.model import FourM
from fourm_backend.request import TokenRequest
from fourm_backend.state import Entry
from fourm_backend.task import Task
from fourm_backend.tokenizer import VQTokenizer

_GREY = 128  # cells that are not made yet


class PictureGenerator(FourMGenerator):
    """A chain with tokenizers of pictures for some of its targets.

    The last of these targets is what `pictures` shows, and what has to be decoded in the end.

    Args:
        model: frozen.
        task: from what to what.
        tokenizers: by target.
        read: makes conditions of what a user writes as a prompt.
    """

    def __init__(
        self,
        model: FourM,
        task: Task,
        tokenizers: Mapping[str, VQTokenizer],
        read: Callable[[str], Mapping[str, Entry]] | None = None,
    ):
        super().__init__(model, task, read)
        self.tokenizers = dict(tokenizers)
        self.shown = [name for name in task.target_domains if name in tokenizers][-1]
        digest = hashlib.sha256(self.fingerprint.encode())
        for tokenizer in self.tokenizers.values():
            hash_weights(digest, tokenizer)
        self.fingerprint = digest.hexdigest()[:16]
        self._decode_flops = rebuild_flops(self.tokenizers[self.shown].settings)

    def fixed_cost(self, request: TokenRequest) -> float:
        """What the chain pays once, and the decoding of the picture."""
        return super().fixed_cost(request) + self._decode_flops

    def pictures(self, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """uint8 RGB [n, H, W, 3] of the last target with a tokenizer; grey where not yet made."""
        return self.pictures_of_target(self.shown, outputs)

    @torch.no_grad()
    def pictures_of_target(self, name: str, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """The same of any target that has a tokenizer."""
        tokenizer = self.tokenizers[name]
        values = self.values_of_target(name, outputs)
        key = name.partition("@")[0]
        pictures = np.stack([as_picture(key, each.cpu()) for each in values])
        made = torch.from_numpy(self._ids(name, outputs) >= 0).unflatten(1, tokenizer.settings.grid)
        for axis, size in enumerate(tokenizer.settings.patch):
            made = made.repeat_interleave(size, dim=axis + 1)
        return np.where(made[..., None].numpy(), pictures, np.uint8(_GREY))

    @torch.no_grad()
    def values_of_target(self, name: str, outputs: Sequence[np.ndarray]) -> Tensor:
        """What the tokenizer of a target makes of its tokens: [n, C, H, W]."""
        tokenizer = self.tokenizers[name]
        ids = torch.from_numpy(self._ids(name, outputs)).clamp(min=0)
        return tokenizer.decode(ids.to(tokenizer.codes.device)).float()

    def table_of(self, name: str) -> Tensor:
        """[V, K] vectors of a target's tokens: the tokenizer's codes, where there is one."""
        if name in self.tokenizers:
            return self.tokenizers[name].codes
        return super().table_of(name)

    def _ids(self, name: str, outputs: Sequence[np.ndarray]) -> np.ndarray:
        """[n, L] tokens of one target, -1 where they are not made."""
        return np.stack([self.tokens_by_target(output)[name] for output in outputs])


def find_tokenizers(
    folder: Path, task: Task, grids: Mapping[str, Sequence[int]]
) -> dict[str, VQTokenizer]:
    """The tokenizers of pictures among `MODALITY.safetensors` in a model's folder, by target.

    Args:
        folder: the model's.
        task: says which targets there are.
        grids: cells of each target along each axis.
    """
    files = {name: folder / f"{name}.safetensors" for name in task.target_domains}
    return {
        name: VQTokenizer.from_file(file)
        for name, file in files.items()
        if file.is_file() and len(grids[name]) == 2
    }
