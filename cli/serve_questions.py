"""`serve --claims` and `serve --sensitivity`: what the Traffic page's buttons answer.

serve --model llama-3.1-8b --gpu h100-sxm5-80gb --claims --format json
"""

import json
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING

from cli.serve_inputs import case_of, lengths_of, longest_of, requests_of
from planner.errors import PlanRefused

if TYPE_CHECKING:
    from planner.serving.study import Setup

ASKED = ("claims", "sensitivity")
OTHER = ("tried", "find_rate", "find_replicas")
COMPARED = 400
"""Requests of one try, unless fewer are asked for."""


def asked(arguments: Namespace) -> str | None:
    """Which of the questions is asked, if any. Raises PlanRefused for what does not go with it."""
    found = [name for name in ASKED if getattr(arguments, name)]
    if not found:
        return None
    name = found[0]
    if len(found) > 1 or any(getattr(arguments, other) for other in OTHER):
        raise PlanRefused(f"--{name} is an answer of its own: leave out the other question")
    if arguments.format not in ("text", "json"):
        raise PlanRefused(f"--{name} has no --format {arguments.format}: take text or json")
    if arguments.trace is not None:
        raise PlanRefused(f"--{name} draws its requests: leave out --trace")
    return name


def claims(arguments: Namespace, setup: "Setup") -> str:
    """Every claim about serving, tried on the replica of the flags; none of them drafts."""
    from dataclasses import replace

    from planner.serving import claims as found
    from planner.serving.study import replica_for

    case = replace(case_of(arguments, (), setup.model), drafting=None)
    one = replica_for(
        setup, case, longest_of(requests_of(arguments, arguments.rate, arguments.seed))
    )
    outcomes = list(found.tried(one, *lengths_of(arguments)))
    if arguments.format == "json":
        data = [found.as_data(name, outcome) for name, outcome in outcomes]
        return json.dumps({"claims": data}, indent=1, allow_nan=False) + "\n"
    return "\n".join(found.as_text(name, outcome) for name, outcome in outcomes)


def sensitivity(arguments: Namespace, setup: "Setup") -> str:
    """What moves the highest rate of one replica, and the times at --rate."""
    from dataclasses import replace

    from planner.deployment import Deployment
    from planner.serving import sensitivity as found
    from planner.serving.engine_replica import moved
    from planner.serving.objective import Traffic
    from planner.serving.replica import Replica
    from planner.serving.study import replica_for

    case = case_of(arguments, (), setup.model)
    longest = longest_of(requests_of(arguments, arguments.rate, arguments.seed))

    def make(deployment: Deployment) -> Replica:
        options = case.options
        if options is not None:
            options = (options[0], moved(*options, case.deployment, deployment))
        return replica_for(setup, replace(case, deployment=deployment, options=options), longest)

    def traffic(shared: int) -> Traffic:
        count = min(arguments.requests, COMPARED)
        drawn = Namespace(**{**vars(arguments), "shared_prefix_tokens": shared, "requests": count})
        return lambda rate, seed: requests_of(drawn, rate, seed)

    rows = list(found.sensitivity(make, case.deployment, traffic, setup.slo, arguments.rate))
    if arguments.format == "json":
        data = {"rate_per_s": arguments.rate, "moves": [asdict(row) for row in rows]}
        return json.dumps(data, indent=1, allow_nan=False) + "\n"
    return found.as_text(rows, arguments.rate)
