"""Where each image of a folder lies: flat `<id>.png`, or the predecessor's nested layout.

Nested: `gen_images_<name>/1.png`, `2.png`, ... with `config.json` beside them and one
`config_all.json` for the whole folder.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agents.prompts import PromptRecord
from base.errors import ConfigError
from base.files import write_json

LAYOUTS = ("flat", "nested")
FORMATS = {"png": ".png", "jpeg": ".jpg"}


@dataclass(frozen=True)
class Places:
    """What is made, and where it goes.

    Attributes:
        records: one an image.
        names: of the prompt that each record belongs to, by id.
        numbers: which image of its prompt each is, from 1, by id.
        layout: `flat` or `nested`.
        suffix: of the files.
    """

    records: tuple[PromptRecord, ...]
    names: Mapping[str, str]
    numbers: Mapping[str, int]
    layout: str
    suffix: str

    @classmethod
    def plan(
        cls,
        prompts: Sequence[PromptRecord],
        images_per_prompt: int = 1,
        layout: str = "flat",
        image_format: str = "png",
    ) -> "Places":
        """Give every image an id, a seed and a place.

        The k-th image of a prompt has the id `<id>_k` (the first one `<id>`), and the prompt's seed
        plus k - 1.

        Raises:
            ConfigError: an unknown layout or format, no images, or two images of one id.
        """
        if layout not in LAYOUTS or image_format not in FORMATS:
            raise ConfigError(
                f"layout {layout!r}, format {image_format!r}; expected a layout of "
                f"{', '.join(LAYOUTS)} and a format of {', '.join(FORMATS)}"
            )
        if images_per_prompt < 1:
            raise ConfigError(f"images_per_prompt is {images_per_prompt}; expected 1 or more")
        records, names, numbers = [], {}, {}
        for prompt in prompts:
            for number in range(1, images_per_prompt + 1):
                identifier = prompt.id if number == 1 else f"{prompt.id}_{number}"
                if identifier in names:
                    raise ConfigError(f"two images would be called {identifier}; rename a prompt")
                records.append(replace(prompt, id=identifier, seed=prompt.seed + number - 1))
                names[identifier], numbers[identifier] = prompt.id, number
        return cls(tuple(records), names, numbers, layout, FORMATS[image_format])

    def path(self, identifier: str) -> str:
        """The file of an image, relative to its folder."""
        if self.layout == "flat":
            return f"{identifier}{self.suffix}"
        return f"gen_images_{self.names[identifier]}/{self.numbers[identifier]}{self.suffix}"

    def intermediates(self, identifier: str) -> str:
        """The folder for what led to an image: beside it where there is room."""
        if self.layout == "nested" and self.numbers[identifier] == 1:
            return f"gen_images_{self.names[identifier]}"
        return f"intermediates/gen_images_{identifier}"

    def write_configs(
        self, folder: Path, entries: Mapping[str, Mapping[str, Any]], controller: str
    ) -> None:
        """Write `config.json` of every prompt and `config_all.json`; nothing for the flat layout.

        Args:
            folder: of all images.
            entries: what is known of each image that was made, by id.
            controller: as the user wrote it.
        """
        if self.layout == "flat":
            return
        raw = controller.removeprefix("schedule:") if controller.startswith("schedule:") else ""
        prompts, scales = [], {}
        for record in self.records:
            entry = entries.get(record.id)
            if entry is None:
                continue
            scales = _pruning_scales(entry)
            prompt = {
                "prompt_name": self.names[record.id],
                "prompt": entry["prompt"],
                "image_path": self.path(record.id),
                "image_number": self.numbers[record.id],
            }
            prompts.append(prompt)
            if self.numbers[record.id] == 1:
                config = {
                    "pruning_scales": scales,
                    "pruning_scales_raw": raw,
                    "prompt": prompt,
                    "latency_ms": entry["latency_ms"],
                }
                write_json(folder / Path(self.path(record.id)).parent / "config.json", config)
        together = {"pruning_scales": scales if raw else {}, "pruning_scales_raw": raw}
        write_json(folder / "config_all.json", together | {"prompts": prompts})


def _pruning_scales(entry: Mapping[str, Any]) -> dict[str, float]:
    """Width of the grid to ratio, for the stages that were pruned."""
    return {
        re.sub(r"^\d+x", "", decision["stage"]): decision["prune_ratio"]
        for decision in entry["decisions"]
        if decision.get("prune_ratio")
    }
