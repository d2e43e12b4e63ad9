"""Whether an SLO holds, decided early, against the whole simulation."""

import random
from itertools import product

import pytest

from planner.serving.metrics import Slo
from planner.serving.requests import Request, synthetic
from planner.serving.simulator import ROUTERS, Router, holds, simulate
from tests.planner.serving.worlds import geometric, replica


@pytest.mark.parametrize(("router", "replicas"), tuple(product(ROUTERS, (1, 3))))
def test_it_is_what_the_whole_simulation_says(router: Router, replicas: int) -> None:
    """Rates from idle to flooded, shares met and missed; some requests are refused."""
    dice = random.Random(5)
    said = []
    for seed in range(60):
        slo = Slo(dice.uniform(0.02, 0.5), dice.uniform(0.01, 0.03), dice.uniform(0.6, 1.0))
        asked = list(
            synthetic(
                rate=dice.uniform(1, 60), count=80, prompt=geometric(dice.choice((50, 400))),
                output=geometric(30), seed=seed,
            )
        )  # fmt: skip
        one = replica(max_model_len=dice.choice((500, 2048)))
        whole = simulate(asked, one, replicas=replicas, router=router, slo=slo)
        found = holds(asked, one, slo, replicas=replicas, router=router)
        assert found == whole.holds
        said.append(found)
    assert 10 < sum(said) < 50


def test_nothing_asked_holds_nothing() -> None:
    assert not holds([], replica(), Slo())


def test_all_must_keep_it_where_the_share_is_one() -> None:
    """The last of three asks for more than there is."""
    asked = [Request(0.0, 10, 2), Request(1.0, 10, 2), Request(2.0, 5000, 2)]
    assert holds(asked[:2], replica(), Slo(1.0, 1.0, 1.0))
    assert not holds(asked, replica(), Slo(1.0, 1.0, 1.0))
