"""`prunegym convert`: official Infinity files to a pipeline folder."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser


def make_parser() -> ArgumentParser:
    """Return the options of the command."""
    parser = ArgumentParser(prog="prunegym convert", description=__doc__)
    parser.add_argument(
        "--transformer", type=str, required=True, help="infinity_2b_reg.pth, or a folder of shards"
    )
    parser.add_argument("--vae", type=str, required=True, help="such as infinity_vae_d32reg.pth")
    parser.add_argument("--text-encoder", type=str, required=True, help="folder of flan-t5-xl")
    parser.add_argument("--out", type=str, required=True, help="the new pipeline folder")
    parser.add_argument(
        "--resolution", type=str | None, default=None, help="default: what it was trained for"
    )
    parser.add_argument("--aspect-ratio", type=float, default=1.0, help="height over width")
    parser.add_argument(
        "--dtype", type=str, default="float32", help="float32, or bfloat16 for half the size"
    )
    parser.add_argument(
        "--force", action="store_true", help="file names that contradict each other only warn"
    )
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0."""
    options = make_parser().parse_args(args)

    import torch

    from base.errors import ConfigError
    from infinity_backend.convert import OfficialFiles, convert
    from infinity_backend.memory import estimate_memory

    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if options.dtype not in dtypes:
        raise ConfigError(f"dtype is {options.dtype!r}; expected one of {', '.join(dtypes)}")
    files = OfficialFiles(Path(options.transformer), Path(options.vae), Path(options.text_encoder))
    config = convert(
        files,
        Path(options.out),
        dtypes[options.dtype],
        resolution=options.resolution,
        aspect_ratio=options.aspect_ratio,
        force=options.force,
    )
    height, width = config.schedule[-1]
    pixels = config.vae.patch_size * (2 if config.infinity.apply_spatial_patchify else 1)
    print(
        f"{config.name}: {len(config.schedule)} scales, {pixels * height}x{pixels * width} pixels"
    )
    for name, dtype in dtypes.items():
        print(
            f"memory with blocks in {name}: {estimate_memory(config, dtype)}, and the text encoder"
        )
    print(f"pipeline: {options.out}")
    return 0
