"""`prunegym egom2p`: EgoM2P's tasks on a folder of video codes.

TASK is rgb2depth, rgb2cam, rgb2gaze or depth2rgb. Each input is an .npz or .npy of codes of the
Cosmos video tokenizer, [5, 32, 32]. Written are OUT/TASK/FILE_TARGET.npy: video codes, gaze
[60, 2] in 0 to 1, or the camera's path [60, 9]; motion needs --tokenizer, and stays tokens [30]
(FILE_TARGET_tokens.npy) without. With --references, files of the same names, each task prints its
metric: agreement of codes, distance of gaze points, ATE of camera places.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser


def make_parser() -> ArgumentParser:
    """Return the options of the command."""
    parser = ArgumentParser(prog="prunegym egom2p", description=__doc__)
    parser.add_argument("task", type=str, help="rgb2depth, rgb2cam, rgb2gaze or depth2rgb")
    parser.add_argument("--model", type=str, required=True, help=".pth, .safetensors or a folder")
    parser.add_argument("--inputs", type=str, required=True, help="a file, or a folder of files")
    parser.add_argument("--out", type=str, default="output/egom2p", help="folder for the results")
    parser.add_argument("--tokenizer", type=str, default=None, help="gaze or camera, .safetensors")
    parser.add_argument("--references", type=str, default=None, help="folder with the truth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0."""
    options = make_parser().parse_args(args)

    from functools import partial

    import numpy as np

    from base.errors import ConfigError, DataError
    from base.files import write_atomic
    from commands.wiring import choose_device
    from fourm_backend.checkpoints import load_model
    from fourm_backend.egom2p import CODE_FILES, TASKS, predict, read_array
    from fourm_backend.motion import CHANNELS, MotionTokenizer

    if options.task not in TASKS:
        raise ConfigError(f"task {options.task!r}; expected one of {sorted(TASKS)}")
    task = TASKS[options.task]
    target = task.target_domains[0]
    source = Path(options.inputs)
    files = [source]
    if source.is_dir():
        files = sorted(path for path in source.iterdir() if path.suffix in CODE_FILES)
    if not files or not files[0].is_file():
        raise DataError(f"{source}: no {' or '.join(CODE_FILES)} files with video codes")
    tokenizer = None
    if options.tokenizer is not None:
        tokenizer = MotionTokenizer.from_file(options.tokenizer)
        if f"tok_{tokenizer.kind}" != target:
            raise ConfigError(
                f"--tokenizer is for {tokenizer.kind!r}; {options.task} makes {target} "
                f"(tokenizers exist for {sorted(CHANNELS)})"
            )
    model = load_model(options.model, choose_device(options.device))
    for name, known in (
        (task.cond_domains[0], model.config.inputs),
        (target, model.config.outputs),
    ):
        if name not in known:
            raise ConfigError(f"{options.task} needs {name}; this model has {sorted(known)}")
    figures = []
    for file in files:
        print(f"predicting {file.name}")
        made = predict(model, task, read_array(file), options.seed, tokenizer)
        motion = made.motion is not None or target not in ("tok_gaze", "tok_cam")
        name = f"{file.stem}_{target}{'' if motion else '_tokens'}.npy"
        values = made.tokens if made.motion is None else made.motion
        path = Path(options.out) / options.task / name
        write_atomic(path, partial(_save, values))
        print(f"  {target} -> {path}")
        if options.references is not None:
            figures.append(_figure(made, target, Path(options.references), file.stem))
            print(f"  {figures[-1][0]}: {figures[-1][1]:.4g}")
    if figures:
        mean = np.mean([value for _, value in figures])
        print(f"{options.task}: mean {figures[0][0]} {mean:.4g} over {len(figures)} videos")
    else:
        print(f"{options.task}: no metric without --references")
    return 0


def _figure(made: Any, target: str, folder: Path, stem: str) -> tuple[str, float]:
    """The name of the task's metric and its value."""
    from base.errors import DataError
    from fourm_backend.egom2p import (
        CODE_FILES,
        camera_places,
        gaze_error,
        read_array,
        token_agreement,
        trajectory_error,
    )

    found = [path for suffix in CODE_FILES if (path := folder / f"{stem}{suffix}").is_file()]
    if not found:
        raise DataError(f"{folder} has no {stem}.npy or {stem}.npz to compare with")
    truth = read_array(found[0])
    if made.motion is None:
        return "token agreement", token_agreement(made.tokens, truth)
    if target == "tok_gaze":
        return "gaze distance", gaze_error(made.motion, truth)
    places = camera_places(made.motion), camera_places(truth)
    return "ATE", trajectory_error(*places)


def _save(values: Any, path: Path) -> None:
    import numpy as np

    with open(path, "wb") as file:
        np.save(file, values)
