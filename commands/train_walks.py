"""`prunegym train-generator walks`: train the small EgoM2P, part by part, and measure it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from commands.follow_recipe import Report, follow, recipe_parser


def make_parser() -> ArgumentParser:
    """Return the options of the command; a YAML file may set them all."""
    from scenes.walk_recipe import PARTS, WalkRecipeConfig

    parser = recipe_parser(" walks", __doc__, PARTS)
    parser.add_argument("--test-walks", type=int, default=128, help="for the gates")
    parser.add_class_arguments(WalkRecipeConfig, "recipe")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 where a gate was missed, or 130 if it was interrupted."""
    parser = make_parser()
    options = parser.instantiate_classes(parser.parse_args(args))

    from scenes.walk_export import export, write_card
    from scenes.walk_gates import measure
    from scenes.walk_recipe import WalkRecipe

    def gates(recipe: Any) -> Report:
        folder, walks = Path(options.recipe.out_dir), options.test_walks
        report = measure(folder, folder, walks)
        write_card(folder, report, asdict(options.recipe), walks, options.history)
        return report

    return follow(options, WalkRecipe, export, gates)
