"""The one rule for the prompt of an image, used by every tool.

The metadata of the Original folder come first, then those of the candidates in their order, then
the file name with spaces for underscores. Each prompt remembers where it came from.
"""

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from eval.disk_mapping import DiskMapping
from eval.metadata import Metadata

FILE_NAME = "file name"

_MOST_NAMED = 3


class Prompt(NamedTuple):
    """A prompt, and its source: `<folder>/<file>` or `file name`."""

    text: str
    source: str


def prompt_in(metadata: Metadata, key: str) -> Prompt | None:
    """The prompt that a folder's metadata give for this image, if they do."""
    entry = metadata.entries.get(key)
    return Prompt(entry.prompt, entry.source) if entry and entry.prompt else None


def resolve_prompts(
    keys: Iterable[str], metadata: Mapping[str, Metadata]
) -> tuple[Mapping[str, Prompt], list[str]]:
    """Find the prompt of every image.

    Args:
        keys: the images.
        metadata: the metadata of each folder by its name, the Original first.

    Returns:
        The prompt of each key, and a warning when folders disagree (the first one is used).
    """
    prompts = DiskMapping(json.dumps, lambda text: Prompt(*json.loads(text)))
    disagreeing = 0
    examples: list[str] = []
    for key in keys:
        found = {name: prompt_in(entries, key) for name, entries in metadata.items()}
        given = {name: prompt for name, prompt in found.items() if prompt}
        if len({prompt.text for prompt in given.values()}) > 1:
            disagreeing += 1
            examples += [key] * (len(examples) < _MOST_NAMED)
        folder, prompt = next(iter(given.items()), (None, None))
        prompts[key] = (
            Prompt(prompt.text, f"{folder}/{prompt.source}")
            if prompt
            else Prompt(key.replace("_", " "), FILE_NAME)
        )
    warnings = []
    if disagreeing:
        warnings.append(
            f"the folders give different prompts for {disagreeing} images "
            f"({', '.join(examples)}...): the first folder's were used"
        )
    return prompts, warnings
