"""What the recipes of all small models have in common: their options, and how they are followed."""

import logging
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from jsonargparse import ActionConfigFile, ArgumentParser


class Report(Protocol):
    """What the gates found."""

    @property
    def passed(self) -> bool:
        """Whether no gate was missed."""

    def table(self) -> str:
        """For people."""


def recipe_parser(name: str, description: str | None, parts: Sequence[str]) -> ArgumentParser:
    """A parser with the options of every recipe; a YAML file may set them all."""
    parser = ArgumentParser(prog=f"prunegym train-generator{name}", description=description)
    parser.add_argument("--config", action=ActionConfigFile, help="YAML file with these options")
    parser.add_argument(
        "--parts",
        type=list[str],
        default=[*parts, "export", "gates"],
        help=f"which of {', '.join(parts)}, export (write the model's folder), gates (measure it)",
    )
    parser.add_argument("--history", type=str, default="", help="a remark for the model card")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 leaves it to torch")
    return parser


def follow(
    options: Namespace | Any,
    make_recipe: Callable[[Any], Any],
    export: Callable[[Any], Any],
    measure: Callable[[Any], Report],
) -> int:
    """Train, export and measure, as far as `--parts` asks for it.

    Args:
        options: of `recipe_parser`, instantiated, with the settings as `recipe`.
        make_recipe: from the settings.
        export: writes the folder of the recipe's model.
        measure: the gates; writes the model card.

    Returns:
        0, 1 where a gate was missed, or 130 if it was interrupted.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)  # tiny numbers cost a CPU much and mean nothing here
    recipe = make_recipe(options.recipe)
    try:
        recipe.run([part for part in options.parts if part not in ("export", "gates")])
        if "export" in options.parts:
            print(f"model folder: {export(recipe)}")
        if "gates" not in options.parts:
            return 0
        report = measure(recipe)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last restart file")
        return 130
    finally:
        torch.set_flush_denormal(False)  # it holds for the whole process
    print(report.table())
    return 0 if report.passed else 1
