"""`prunegym train-generator sign`: draw signers, find keypoints, train the small PoseFormer."""

from collections.abc import Sequence
from functools import partial

from jsonargparse import ArgumentParser

from commands.follow_recipe import follow, recipe_parser


def make_parser() -> ArgumentParser:
    """Return the options of the command; a YAML file may set them all."""
    from signers.recipe import PARTS, SignerRecipeConfig

    parser = recipe_parser(" sign", __doc__, PARTS)
    parser.add_class_arguments(SignerRecipeConfig, "recipe")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 where the gate was missed, or 130 if it was interrupted."""
    parser = make_parser()
    options = parser.instantiate_classes(parser.parse_args(args))

    from signers.export import export, measure
    from signers.recipe import SignerRecipe

    return follow(options, SignerRecipe, export, partial(measure, history=options.history))
