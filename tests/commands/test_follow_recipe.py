"""The recipes: their options, and how a recipe is followed."""

from types import SimpleNamespace

import pytest

from commands import train_generator, train_pictures, train_signers, train_walks
from commands.follow_recipe import follow

CONFIGS = {
    "scenes.yaml": train_generator,
    "scenes_fourm.yaml": train_pictures,
    "walks.yaml": train_walks,
    "signers.yaml": train_signers,
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_configuration_of_each_shipped_model_is_read(name):
    parser = CONFIGS[name].make_parser()
    options = parser.instantiate_classes(
        parser.parse_args(["--config", f"configs/generators/{name}", "--history", "none"])
    )
    assert options.parts[-2:] == ["export", "gates"]
    assert options.recipe.out_dir


def options(*parts):
    return SimpleNamespace(threads=0, parts=list(parts), recipe="settings")


@pytest.mark.parametrize("passed", [True, False])
def test_parts_are_trained_then_exported_then_measured(passed, capsys):
    done = []
    recipe = SimpleNamespace(run=lambda parts: done.append(parts))
    report = SimpleNamespace(passed=passed, table=lambda: "the gates")
    code = follow(
        options("vae", "export", "gates"),
        lambda settings: done.append(settings) or recipe,
        lambda recipe: done.append("export"),
        lambda recipe: done.append("gates") or report,
    )
    assert done == ["settings", ["vae"], "export", "gates"]
    assert code == (0 if passed else 1)
    assert "the gates" in capsys.readouterr().out


def test_interrupted_it_says_how_to_go_on(capsys):
    def run(parts):
        raise KeyboardInterrupt

    recipe = SimpleNamespace(run=run)
    code = follow(options("vae", "export"), lambda settings: recipe, pytest.fail, pytest.fail)
    assert code == 130
    assert "goes on from the last restart file" in capsys.readouterr().out
