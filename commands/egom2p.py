"""`prunegym egom2p`: EgoM2P's tasks on clips of 2 seconds.

TASK is rgb2depth, rgb2cam, rgb2gaze or depth2rgb; with --targets the same input makes a chain of
targets, such as tok_depth-tok_cam. Without options the small model that comes with the package
works on four walks that it never saw: `prunegym egom2p rgb2depth`.

--inputs is a file or folder of codes of the video tokenizer (.npz or .npy, [5, 32, 32] for the
published model), of videos (with --cosmos, a folder with encoder.jit and decoder.jit), or
walks:SPLIT:COUNT for the small model. Written are OUT/TASK/FILE_TARGET.npy: what was made, decoded
where a tokenizer is at hand (depth in metres [16, H, W], frames, gaze [60, 2] in 0 to 1, the
camera's path [60, 9]), else as codes (FILE_TARGET_tokens.npy); videos also as .gif. With
--references, files of the same names (or FILE_TARGET.npy), each task prints its metric.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from commands.egom2p_clips import Clip, clips

logger = logging.getLogger(__name__)


def make_parser() -> ArgumentParser:
    """Return the options of the command."""
    parser = ArgumentParser(prog="prunegym egom2p", description=__doc__)
    parser.add_argument("task", type=str, help="rgb2depth, rgb2cam, rgb2gaze or depth2rgb")
    parser.add_argument("--model", type=str, default="walks", help=".pth, .safetensors, a folder")
    parser.add_argument("--inputs", type=str, default="walks:test:4", help="see above")
    parser.add_argument("--out", type=str, default="output/egom2p", help="folder for the results")
    parser.add_argument("--targets", type=str, default=None, help="a chain: tok_depth-tok_cam")
    parser.add_argument(
        "--tokenizer", type=str, default=None, help="gaze or camera, .pth or .safetensors"
    )
    parser.add_argument("--cosmos", type=str, default=None, help="folder of the video tokenizer")
    parser.add_argument("--references", type=str, default=None, help="folder with the truth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0."""
    options = make_parser().parse_args(args)

    from base.errors import ConfigError, DataError
    from commands.wiring import choose_device, model_folder
    from fourm_backend.checkpoints import load_float32
    from fourm_backend.egom2p import TASKS, chain_task, predict
    from fourm_backend.video_coders import load_coders

    if options.task not in TASKS:
        raise ConfigError(f"task {options.task!r}; expected one of {sorted(TASKS)}")
    task = TASKS[options.task]
    if options.targets is not None:
        task = chain_task(task.cond_domains[0], options.targets.split("-"))
    device = choose_device(options.device)
    folder = model_folder(options.model)
    coders = load_coders(
        folder, [options.tokenizer] if options.tokenizer else [], options.cosmos, device
    )
    if options.tokenizer and not any(name in coders for name in task.target_domains):
        raise ConfigError(
            f"--tokenizer is for {sorted(coders)}; {options.task} makes {list(task.target_domains)}"
        )
    model = load_float32(folder, device)
    for names, known in (
        (task.cond_domains, model.config.inputs),
        (task.target_domains, model.config.outputs),
    ):
        lacking = [name for name in names if name not in known]
        if lacking:
            raise ConfigError(f"{options.task} needs {lacking[0]}; this model has {sorted(known)}")
    means: dict[str, list[float]] = {}
    failed: list[DataError] = []
    sources = clips(options.inputs, options.references, task.cond_domains[0], model, coders)
    for read in sources:
        try:
            clip = read()
            print(f"predicting {clip.name}")
            made = predict(model, task, clip.codes, options.seed)
        except DataError as error:  # one bad file does not end a long run
            logger.error("left out: %s", error)
            failed.append(error)
            continue
        for target, codes in made.items():
            decoded = coders[target].decode(codes) if target in coders else None
            write(Path(options.out) / options.task, f"{clip.name}_{target}", codes, decoded)
            for name, value in measure(target, codes, decoded, clip, coders.get(target)).items():
                means.setdefault(name, []).append(value)
                print(f"  {name}: {value:.4g}")
    if len(failed) == len(sources):
        raise failed[0]
    for name, values in means.items():
        mean = sum(values) / len(values)
        print(f"{options.task}: mean {name} {mean:.4g} over {len(values)} videos")
    if not means:
        print(f"{options.task}: no metric without --references")
    if failed:
        print(f"{len(failed)} of {len(sources)} could not be used and were left out")
        return DataError.exit_code
    return 0


def write(folder: Path, name: str, codes: Any, made: Any) -> None:
    """What was made as an array, and to look at."""
    import numpy as np

    from base.files import write_array
    from fourm_backend.clip_files import write_gif
    from fourm_backend.detokenize import coloured

    if made is None:
        write_array(folder / f"{name}_tokens.npy", codes)
        return
    write_array(folder / f"{name}.npy", made)
    if made.ndim == 4:
        write_gif(folder / f"{name}.gif", made)
    if made.ndim == 3:
        frames, height, width = made.shape
        one_picture = -np.log(np.maximum(made, 1e-3)).reshape(frames * height, width)
        colours = coloured(one_picture).reshape(frames, height, width, 3)  # near is red
        write_gif(folder / f"{name}.gif", colours)


def measure(target: str, codes: Any, made: Any, clip: Clip, coder: Any) -> dict[str, float]:
    """The figures of one clip; none where the truth is not known."""
    from fourm_backend.egom2p_metrics import figures, token_agreement

    if target not in clip.truth:
        return {}
    truth = clip.truth[target]
    if made is None or truth.shape == codes.shape:
        return {"token agreement": token_agreement(codes, truth)}
    return figures(target, made, truth, coder.metric)
