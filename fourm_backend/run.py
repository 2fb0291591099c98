"""A data set through a chain, and through a second one for higher resolution; files on the way.

| file | what |
|---|---|
| `OUT/targets/MODALITY/INDEX_VARIATION.npy` or `.txt` | tokens, text |
| the same with `.png` | what the tokens show, where a tokenizer is at hand |
| `OUT/plots/INDEX.jpg` | conditions in the first column, then a column a variation |
| `OUT/plots/INDEX_srVARIATION.jpg` | what the second chain was given, and what it made |
| `OUT/conds/MODALITY/INDEX.npy`, `.txt` or `.png` | with `save_all_outputs`: what was given |
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from base.errors import ConfigError
from base.files import write_array, write_atomic
from fourm_backend.chain import Chain
from fourm_backend.datasets import Item
from fourm_backend.detokenize import Detokenizers
from fourm_backend.generate import Made
from fourm_backend.modalities import IMAGE_LIKE, TEXT_LIKE, Modality
from fourm_backend.plots import Cell, save_grid
from fourm_backend.samples import expand_to_batch, full_input
from fourm_backend.sampling import generate_seed
from fourm_backend.shown import pixels, printable, show, text_of
from fourm_backend.state import Entry


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
        detokenizers: tokenizers that make pictures of tokens.
        plotted: numbers of the samples that get plots.
    """

    base: Chain
    super_resolution: Chain | None
    folder: Path
    text_tokenizer: Any
    seed: int
    variations: int
    save_all_outputs: bool
    detokenizers: Detokenizers = field(default_factory=lambda: Detokenizers({}))
    plotted: frozenset[int] = frozenset()

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
        files = [
            self.path("targets", modality, f"{item.index:06d}_{variation}")
            for modality in self.targets.values()
            for variation in range(self.variations)
        ]
        return all(file.is_file() for file in (*files, *self._plots(item)))

    def _plots(self, item: Item) -> list[Path]:
        """The plots of a sample: the first chain's, then one a variation of the second's."""
        if item.index not in self.plotted:
            return []
        again = range(self.variations if self.super_resolution is not None else 0)
        names = [f"{item.index:06d}", *(f"{item.index:06d}_sr{each}" for each in again)]
        return [self.folder / "plots" / f"{name}.jpg" for name in names]

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
        given_again: Made = {}
        finer: Made = {}
        if self.super_resolution is not None:
            second = self.super_resolution
            known = {**many, **outputs}
            given_again = {
                name: _finished(second.model.config.inputs[name], known[name])
                for name in second.task.cond_domains
            }
            all_made = second.run(given_again, seeds, self.text_tokenizer)
            finer = {name: all_made[name] for name in second.task.target_domains}
        if self.save_all_outputs:
            for name, entry in given.items():
                modality = self.base.model.config.inputs[name]
                if modality.type != "seq_emb":  # vectors came from a file, and go nowhere
                    self._write("conds", modality, f"{item.index:06d}", entry, 0)
        for name, entry in {**outputs, **finer}.items():
            for row in range(self.variations):
                self._write("targets", self.targets[name], f"{item.index:06d}_{row}", entry, row)
        for path, columns in zip(
            self._plots(item),
            self._columns(given, outputs, given_again, finer),
            strict=False,  # no path, no plot
        ):
            save_grid(path, columns)

    def _columns(
        self, given: Made, outputs: Made, given_again: Made, finer: Made
    ) -> Iterator[list[list[Cell]]]:
        """The columns of each plot, in the order of `_plots`."""
        rows = range(self.variations)
        made = [self._cells(self.base, outputs, row) for row in rows]
        yield [self._cells(self.base, given, 0, "given"), *made]
        if self.super_resolution is not None:
            for row in rows:
                yield [
                    self._cells(self.super_resolution, part, row) for part in (given_again, finer)
                ]

    def _cells(self, chain: Chain, entries: Made, row: int, title: str = "") -> list[Cell]:
        """What one column of a plot shows."""
        cells = []
        for number, (name, entry) in enumerate(entries.items()):
            modality = chain.model.config.modalities[name]
            shown = show(modality, entry, row, self.text_tokenizer, self.detokenizers)
            cells.append((f"{title or row}.{number}: {printable(name)}", shown))
        return cells

    def _write(self, part: str, modality: Modality, name: str, entry: Entry, row: int) -> None:
        path = self.path(part, modality, name)
        if modality.type in TEXT_LIKE:
            text = text_of(entry, row, self.text_tokenizer) + "\n"
            write_atomic(path, partial(Path.write_text, data=text, encoding="utf-8"))
            return
        picture: np.ndarray | None
        if modality.kind == "image_pixels":
            picture = pixels(entry["tensor"][row])
        else:
            tokens = entry["tensor"][row].reshape(modality.grid).cpu().numpy()
            picture = self.detokenizers.picture(modality, tokens)
        if picture is not None:
            image = Image.fromarray(picture)
            write_atomic(path.with_suffix(".png"), partial(image.save, format="PNG"))
        if modality.kind != "image_pixels":  # last: it says that the sample is done
            write_array(path, tokens)


def _finished(modality: Modality, entry: Entry) -> Entry:
    """Something made or given as a condition of the next chain."""
    if modality.type not in IMAGE_LIKE or bool((~entry["input_mask"]).all()):
        return entry  # texts and vectors are visible as far as they go
    return full_input(modality, entry)


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
