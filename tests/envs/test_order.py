"""The order of requests is a function of seed and number of draws."""

import pytest

from base.errors import ConfigError
from envs.order import RequestOrder
from envs.toy import ToyRequest

REQUESTS = [ToyRequest(index) for index in range(7)]


def order(**changes: object) -> RequestOrder:
    settings = {"fresh_seeds": False, "shuffle": True, **changes}
    return RequestOrder(REQUESTS, (0.2, 0.8), **settings)  # type: ignore[arg-type]


def test_each_epoch_is_another_permutation() -> None:
    requests = order()
    requests.restart(1)
    drawn = [requests.draw()[0].index for _ in range(21)]
    epochs = [drawn[:7], drawn[7:14], drawn[14:]]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_position_is_two_numbers() -> None:
    one, other = order(fresh_seeds=True), order(fresh_seeds=True)
    one.restart(5)
    drawn = [one.draw() for _ in range(20)]
    other.restart(5, draws=11)
    assert [other.draw() for _ in range(9)] == drawn[11:]
    other.restart(6)
    assert [other.draw() for _ in range(20)] != drawn
    assert len({request.seed for request, _ in drawn}) == 20
    weights = [weight for _, weight in drawn]
    assert 0.2 <= min(weights) < 0.35 and 0.65 < max(weights) <= 0.8


def test_repeats_are_the_same_request_and_weight() -> None:
    once, thrice = order(fresh_seeds=True), order(fresh_seeds=True, repeats=3)
    for requests in (once, thrice):
        requests.restart(4)
    drawn = [once.draw() for _ in range(9)]  # into the second epoch
    assert [thrice.draw() for _ in range(27)] == [draw for draw in drawn for _ in range(3)]
    thrice.restart(4, draws=5)
    assert [thrice.draw() for _ in range(2)] == drawn[1:3]


def test_as_listed_and_as_chosen() -> None:
    requests = order(shuffle=False)
    requests.restart(0)
    assert [requests.draw()[0].index for _ in range(9)] == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    assert requests.draw({"request": 6, "preference": 1}) == (REQUESTS[6], 1.0)
    assert requests.draw({"request": ToyRequest(50)})[0] == ToyRequest(50)


@pytest.mark.parametrize(
    "option",
    [{"prompt": "cat"}, {"request": 7}, {"request": -1}, {"request": "cat"}, {"request": True}]
    + [{"preference": value} for value in (-0.1, 1.1, float("nan"), "a", True)],
)
def test_refuses_options(option: dict[str, object]) -> None:
    requests = order()
    requests.restart(0)
    with pytest.raises(ConfigError, match="expected"):
        requests.draw(option)
    assert requests.draws == 0


def test_refuses_requests() -> None:
    with pytest.raises(ConfigError, match="0 requests"):
        RequestOrder([], (0, 1), fresh_seeds=False, shuffle=True)
    with pytest.raises(ConfigError, match="2 requests with 1 different keys"):
        RequestOrder([REQUESTS[0]] * 2, (0, 1), fresh_seeds=False, shuffle=True)
