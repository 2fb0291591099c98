"""`prunegym train-generator`: train the small model of the scenes, part by part, and measure it.

`prunegym train-generator fourm`, `walks` and `sign` do the same for the small 4M, the small EgoM2P
and the small PoseFormer.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from base.files import read_json, write_json
from commands.follow_recipe import Report, follow, recipe_parser


def make_parser() -> ArgumentParser:
    """Return the options of the command; a YAML file may set them all."""
    from scenes.recipe import PARTS, RecipeConfig

    parser = recipe_parser("", __doc__, PARTS)
    parser.add_argument("--test-prompts", type=int, default=256, help="for the gates")
    parser.add_class_arguments(RecipeConfig, "recipe")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 where a gate was missed, or 130 if it was interrupted."""
    if args and args[0] in ("fourm", "walks", "sign"):
        from commands import train_pictures, train_signers, train_walks

        commands = {"fourm": train_pictures, "walks": train_walks, "sign": train_signers}
        return commands[args[0]].main(args[1:])
    parser = make_parser()
    options = parser.instantiate_classes(parser.parse_args(args))

    from scenes.export import export
    from scenes.gates import measure
    from scenes.model_card import write_model_card
    from scenes.recipe import Recipe

    def gates(recipe: Any) -> Report:
        folder, prompts = Path(options.recipe.out_dir), options.test_prompts
        report = measure(options.recipe.out_dir, recipe.run_dir, prompts)
        write_json(folder / "gates.json", read_json(recipe.run_dir / "gates.json"))
        words = len(recipe.tokenizer) - 3
        write_model_card(folder, report, recipe.settings(), words, prompts, options.history)
        return report

    return follow(options, Recipe, export, gates)


if __name__ == "__main__":
    raise SystemExit(main())
