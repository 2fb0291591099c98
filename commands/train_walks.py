"""`prunegym train-generator walks`: train the small EgoM2P, part by part, and measure it."""

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from jsonargparse import ActionConfigFile, ArgumentParser


def make_parser() -> ArgumentParser:
    """Return the options of the command; a YAML file may set them all."""
    from scenes.walk_recipe import PARTS, WalkRecipeConfig

    parser = ArgumentParser(prog="prunegym train-generator walks", description=__doc__)
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file with these options")
    parser.add_argument(
        "--parts",
        type=list[str],
        default=[*PARTS, "export", "gates"],
        help=f"which of {', '.join(PARTS)}, export (write the model's folder), gates (measure it)",
    )
    parser.add_argument("--test-walks", type=int, default=128, help="for the gates")
    parser.add_argument("--history", type=str, default="", help="a remark for the model card")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to torch")
    parser.add_class_arguments(WalkRecipeConfig, "recipe")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 where a gate was missed, or 130 if it was interrupted."""
    parser = make_parser()
    options = parser.instantiate_classes(parser.parse_args(args))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)

    import torch

    from scenes.walk_export import export, write_card
    from scenes.walk_gates import measure
    from scenes.walk_recipe import WalkRecipe

    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    recipe = WalkRecipe(options.recipe)
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
    report = measure(folder, folder, options.test_walks)
    write_card(folder, report, asdict(options.recipe), options.test_walks, options.history)
    print(report.table())
    return 0 if report.passed else 1
