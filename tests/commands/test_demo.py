"""The demo's settings fit the models that they are for."""

import pytest

from agents.parse_controller import parse_controller
from agents.schedules import parse_schedule
from base.errors import ConfigError
from commands import demo
from commands.wiring import load_generator, load_prompts, make_requests


@pytest.mark.parametrize("name", demo.DEMOS)
def test_schedules_can_be_run_as_they_are(name: str) -> None:
    """A schedule that leaves the last step of a picture to nobody would be replaced, silently."""
    settings = demo.DEMOS[name]
    assert settings.config.is_file()
    generator = load_generator(settings.generator)
    (request,) = make_requests(generator, load_prompts("scenes:test:1"))
    for text in (settings.fast, *settings.others.values()):
        controller = parse_controller(f"schedule:{text}", generator, request)
        assert controller.name
        state = generator.begin([request])
        names = tuple(stage.name for stage in generator.stages(request))
        for ratio in parse_schedule(text, names):
            decision = {"prune_ratio": ratio}
            assert generator.allowed(state, [decision])[0, 0]
            state = generator.advance(state, [decision])


def test_another_generator_is_refused() -> None:
    with pytest.raises(ConfigError, match="infinity or fourm"):
        demo.main(["--generator", "sign"])
