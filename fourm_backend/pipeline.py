"""A model folder to control: weights, `task.yaml`, and a text tokenizer for captions."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from base.errors import CheckpointError
from fourm_backend.checkpoints import load_float32
from fourm_backend.generator import FourMGenerator
from fourm_backend.modalities import Modality
from fourm_backend.pictured import PictureGenerator, find_tokenizers
from fourm_backend.prompts import Inputs, read_prompt
from fourm_backend.task import Task
from fourm_backend.text import load_text_tokenizer

TASK_FILE = "task.yaml"


Reader = Callable[[str], Inputs]


def load_generator(
    folder: str | Path,
    device: str = "cpu",
    make_reader: Callable[[Task, Mapping[str, Modality]], Reader] | None = None,
) -> FourMGenerator:
    """Load a folder.

    Args:
        folder: `task.yaml` (see `Task`); `config.json` with `model.safetensors`, or one
            `.safetensors` or `.pth` file; `text_tokenizer.json` where captions are conditions;
            `TARGET.safetensors`, a target's tokenizer, where its pictures are to be seen.
        device: where it runs.
        make_reader: makes a reader of prompts for a task and the model's inputs; None reads
            captions and files, see `fourm_backend.prompts.read_prompt`.

    Raises:
        CheckpointError: a file is missing or damaged.
        ConfigError: the task does not fit the model.
    """
    folder = Path(folder)
    task = Task.from_file(folder / TASK_FILE)
    source = folder
    if not (folder / "config.json").is_file():
        files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.pth")])
        if len(files) != 1:
            raise CheckpointError(
                f"{folder} has no config.json and {len(files)} weight files; expected config.json "
                "with model.safetensors, or exactly one .safetensors or .pth file"
            )
        source = files[0]
    model = load_float32(source, device)
    inputs = model.config.inputs
    read = _reader(folder, task, inputs) if make_reader is None else make_reader(task, inputs)
    grids = {name: entry.grid for name, entry in model.config.outputs.items()}
    tokenizers = find_tokenizers(folder, task, grids)
    if not tokenizers:
        return FourMGenerator(model, task, read)
    moved = {name: tokenizer.to(device) for name, tokenizer in tokenizers.items()}
    return PictureGenerator(model, task, moved, read)


def _reader(folder: Path, task: Task, inputs: Mapping[str, Modality]) -> Callable[[str], Inputs]:
    path = folder / "text_tokenizer.json"
    tokenizer = load_text_tokenizer(path) if path.is_file() else None
    return partial(read_prompt, task=task, modalities=inputs, text_tokenizer=tokenizer)
