"""`prunegym train-generator fourm`: train the small 4M, part by part, and measure it."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from jsonargparse import ActionConfigFile, ArgumentParser

CLIP = "infinity_backend/pretrained/scenes/clip"


def make_parser() -> ArgumentParser:
    """Return the options of the command; a YAML file may set them all."""
    from scenes.picture_recipe import PARTS, PictureRecipeConfig

    parser = ArgumentParser(prog="prunegym train-generator fourm", description=__doc__)
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file with these options")
    parser.add_argument(
        "--parts",
        type=list[str],
        default=[*PARTS, "export", "gates"],
        help=f"which of {', '.join(PARTS)}, export (write the model's folder), gates (measure it)",
    )
    parser.add_argument("--test-prompts", type=int, default=256, help="for the gates")
    parser.add_argument("--clip", type=str, default=CLIP, help="folder of the scenes CLIP")
    parser.add_argument("--history", type=str, default="", help="a remark for the model card")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to torch")
    parser.add_class_arguments(PictureRecipeConfig, "recipe")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 where a gate was missed, or 130 if it was interrupted."""
    parser = make_parser()
    options = parser.instantiate_classes(parser.parse_args(args))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)

    import torch

    from scenes.picture_export import export, write_card
    from scenes.picture_gates import measure
    from scenes.picture_recipe import PictureRecipe

    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    recipe = PictureRecipe(options.recipe)
    try:
        recipe.run([part for part in options.parts if part not in ("export", "gates")])
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last restart file")
        return 130
    if "export" in options.parts:
        print(f"model folder: {export(recipe)}")
    if "gates" not in options.parts:
        return 0
    folder = Path(options.recipe.out_dir)
    report = measure(folder, options.clip, recipe.run_dir / "sheet.png", options.test_prompts)
    write_card(folder, report, asdict(options.recipe), options.test_prompts, options.history)
    print(report.table())
    return 0 if report.passed else 1
