"""A data set through a chain, and through a second one for higher resolution; files on the way.

Layout: `OUT/targets/MODALITY/INDEX_VARIATION.npy` (tokens) or `.txt` (text), with
`save_all_outputs` also `OUT/conds/MODALITY/INDEX.npy` or `.txt`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from base.errors import ConfigError
from base.files import write_atomic
from fourm_backend.datasets import Item
from fourm_backend.generate import Made, empty_targets, generate
from fourm_backend.modalities import IMAGE_LIKE, TEXT_LIKE, Modality
from fourm_backend.model import FourM
from fourm_backend.samples import expand_to_batch, full_input
from fourm_backend.sampling import SiteNoise, generate_seed
from fourm_backend.state import Entry
from fourm_backend.task import Task


@dataclass(frozen=True)
class Chain:
    """A model and what is done with it."""

    model: FourM
    task: Task

    def __post_init__(self) -> None:
        self.task.schedule(self.model.config.outputs)  # refuses settings that do not fit, early

    def run(self, conditions: Made, seeds: Sequence[int], text_tokenizer: Any) -> Made:
        """Make the targets, one row a seed, of conditions with as many rows."""
        schedule = self.task.schedule(self.model.config.outputs)
        counts = zip(self.task.target_domains, self.task.tokens_per_target, strict=True)
        lengths = {name: count for name, count in counts if count is not None}
        sample = empty_targets(self.model, conditions, schedule, lengths, rows=len(seeds))
        filters = self.task.top_k, self.task.top_p
        noise = SiteNoise(seeds)
        return generate(self.model, sample, schedule, *filters, text_tokenizer, noise=noise)


@dataclass(frozen=True)
class Run:
    """Settings of a run over a data set.

    Attributes:
        base: the first chain.
        super_resolution: the second one, whose conditions are those of the first and its targets.
        folder: where files go.
        text_tokenizer: None where no text is involved.
        seed: of everything; what a sample gets depends on it, its number and the variation only.
        variations: how often each sample is drawn, in one batch.
        save_all_outputs: also write the conditions.
    """

    base: Chain
    super_resolution: Chain | None
    folder: Path
    text_tokenizer: Any
    seed: int
    variations: int
    save_all_outputs: bool

    def __post_init__(self) -> None:
        texts = [name for name, entry in self.targets.items() if entry.type in TEXT_LIKE]
        if texts and self.text_tokenizer is None:
            raise ConfigError(f"text_tok_path is missing: {texts} are written as text")
        if self.super_resolution is None:
            return
        second = self.super_resolution
        known = {*self.base.task.cond_domains, *self.base.task.target_domains}
        inputs = second.model.config.inputs
        unknown = [n for n in second.task.cond_domains if n not in known or n not in inputs]
        if unknown:
            raise ConfigError(
                f"sr_cond_domains has {unknown}; expected conditions or targets of the first chain "
                f"({sorted(known)}) that the second model takes ({sorted(inputs)})"
            )

    @property
    def targets(self) -> dict[str, Modality]:
        """Everything that is made."""
        chains = [chain for chain in (self.base, self.super_resolution) if chain is not None]
        return {
            name: chain.model.config.outputs[name]
            for chain in chains
            for name in chain.task.target_domains
        }

    def is_done(self, item: Item) -> bool:
        """Whether every file of a sample is there."""
        return all(
            self.path("targets", modality, f"{item.index:06d}_{variation}").is_file()
            for modality in self.targets.values()
            for variation in range(self.variations)
        )

    def path(self, part: str, modality: Modality, name: str) -> Path:
        """The file of one modality of one sample."""
        suffix = ".txt" if modality.type in TEXT_LIKE else ".npy"
        return self.folder / part / modality.name / f"{name}{suffix}"

    def make(self, item: Item) -> None:
        """Generate one sample with all of its variations, and write its files."""
        device = self.base.model.mask_token.device
        given: dict[str, Entry] = {
            name: {key: value.to(device) for key, value in entry.items()}
            for name, entry in item.read().items()
        }
        seeds = [generate_seed(self.seed, item.index, each) for each in range(self.variations)]
        many: Made = dict(expand_to_batch(given, self.variations))
        made = self.base.run(many, seeds, self.text_tokenizer)
        outputs = {name: made[name] for name in self.base.task.target_domains}
        if self.super_resolution is not None:
            second = self.super_resolution
            known = {**many, **outputs}
            inputs = {
                name: _finished(second.model.config.inputs[name], known[name])
                for name in second.task.cond_domains
            }
            finer = second.run(inputs, seeds, self.text_tokenizer)
            outputs |= {name: finer[name] for name in second.task.target_domains}
        if self.save_all_outputs:
            for name, entry in given.items():
                modality = self.base.model.config.inputs[name]
                if "float" not in str(entry["tensor"].dtype):
                    self._write("conds", modality, f"{item.index:06d}", entry, 0)
        for name, entry in outputs.items():
            for row in range(self.variations):
                self._write("targets", self.targets[name], f"{item.index:06d}_{row}", entry, row)

    def _write(self, part: str, modality: Modality, name: str, entry: Entry, row: int) -> None:
        path = self.path(part, modality, name)
        ids: Tensor = entry["tensor"][row]
        write: Callable[[Path], Any]
        if modality.type in TEXT_LIKE:
            shown = ids[~entry["input_mask"][row]].tolist()
            text = self.text_tokenizer.decode(shown, skip_special_tokens=False)
            text = text.removesuffix("[EOS]").strip()
            write = partial(Path.write_text, data=text + "\n", encoding="utf-8")
        else:
            write = partial(_save_array, ids.reshape(modality.grid).cpu().numpy())
        write_atomic(path, write)


def _finished(modality: Modality, entry: Entry) -> Entry:
    """Something made or given as a condition of the next chain."""
    if modality.type not in IMAGE_LIKE or bool((~entry["input_mask"]).all()):
        return entry  # texts and vectors are visible as far as they go
    return full_input(modality, entry)


def _save_array(values: np.ndarray, path: Path) -> None:
    with open(path, "wb") as file:
        np.save(file, values)


def share_of_rank(items: Sequence[Item], rank: int, world_size: int) -> list[Item]:
    """What one of several processes does: nothing twice, nothing left out."""
    return list(items[rank::world_size])


def dtype_of(name: str) -> torch.dtype | None:
    """A number type from its long or short name; None for an unknown one."""
    names = {
        "float32": torch.float32,
        "fp32": torch.float32,
        "float16": torch.float16,
        "fp16": torch.float16,
        "bfloat16": torch.bfloat16,
        "bf16": torch.bfloat16,
    }
    return names.get(name)
