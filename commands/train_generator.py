"""`prunegym train-generator`: train the small model of the scenes, part by part, and measure it.

`prunegym train-generator fourm` and `prunegym train-generator walks` do the same for the small 4M
and the small EgoM2P.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ActionConfigFile, ArgumentParser

from base.files import read_json, write_json


def make_parser() -> ArgumentParser:
    """Return the options of the command; a YAML file may set them all."""
    from scenes.recipe import PARTS, RecipeConfig

    parser = ArgumentParser(prog="prunegym train-generator", description=__doc__)
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file with these options")
    parser.add_argument(
        "--parts",
        type=list[str],
        default=[*PARTS, "export", "gates"],
        help=f"which of {', '.join(PARTS)}, export (write the model's folder), gates (measure it)",
    )
    parser.add_argument("--test-prompts", type=int, default=256, help="for the gates")
    parser.add_argument("--history", type=str, default="", help="a remark for the model card")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to torch")
    parser.add_class_arguments(RecipeConfig, "recipe")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 where a gate was missed, or 130 if it was interrupted."""
    if args and args[0] in ("fourm", "walks"):
        from commands import train_pictures, train_walks

        command = train_pictures if args[0] == "fourm" else train_walks
        return command.main(args[1:])
    parser = make_parser()
    options = parser.instantiate_classes(parser.parse_args(args))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")

    import torch

    from scenes.export import export
    from scenes.gates import measure
    from scenes.model_card import write_model_card
    from scenes.recipe import Recipe

    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    recipe = Recipe(options.recipe)
    try:
        recipe.run([part for part in options.parts if part not in ("export", "gates")])
        if "export" in options.parts:
            print(f"model folder: {export(recipe)}")
        if "gates" in options.parts:
            report = measure(options.recipe.out_dir, recipe.run_dir, options.test_prompts)
            folder = Path(options.recipe.out_dir)
            write_json(folder / "gates.json", read_json(recipe.run_dir / "gates.json"))
            words = len(recipe.tokenizer) - 3
            write_model_card(
                folder,
                report,
                recipe.settings(),
                words,
                options.test_prompts,
                options.history,
            )
            print(report.table())
            return 0 if report.passed else 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last restart file")
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
