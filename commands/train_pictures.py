"""`prunegym train-generator fourm`: train the small 4M, part by part, and measure it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from commands.follow_recipe import Report, follow, recipe_parser

CLIP = "infinity_backend/pretrained/scenes/clip"


def make_parser() -> ArgumentParser:
    """Return the options of the command; a YAML file may set them all."""
    from scenes.picture_recipe import PARTS, PictureRecipeConfig

    parser = recipe_parser(" fourm", __doc__, PARTS)
    parser.add_argument("--test-prompts", type=int, default=256, help="for the gates")
    parser.add_argument("--clip", type=str, default=CLIP, help="folder of the scenes CLIP")
    parser.add_class_arguments(PictureRecipeConfig, "recipe")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 where a gate was missed, or 130 if it was interrupted."""
    parser = make_parser()
    options = parser.instantiate_classes(parser.parse_args(args))

    from scenes.picture_export import export, write_card
    from scenes.picture_gates import measure
    from scenes.picture_recipe import PictureRecipe

    def gates(recipe: Any) -> Report:
        folder, prompts = Path(options.recipe.out_dir), options.test_prompts
        report = measure(folder, options.clip, recipe.run_dir / "sheet.png", prompts)
        write_card(folder, report, asdict(options.recipe), prompts, options.history)
        return report

    return follow(options, PictureRecipe, export, gates)
