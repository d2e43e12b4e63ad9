"""How fast each alternative is and what a million tokens cost on it: estimates. Pure."""

from collections.abc import Sequence

from planner.cost import cost
from planner.errors import SizewellError
from planner.offer import Offer
from planner.plan import Plan
from planner.timing.breakdown import Time
from planner.timing.queueing import Queued, queued
from planner.units import counted
from presets.speed import speed_of
from ui.alternatives import Alternative, cheapest
from ui.plan_request import request_of
from ui.tables import html_table

HEAD = ("Users at once", "TTFT alone (ms)", "TPOT (ms)", "Tokens/s", "$ / M in", "$ / M out")


def table(found: Sequence[Alternative], first: str) -> tuple[str, list[str]]:
    """A row for each alternative that holds a user, nothing where none does; and why others that
    do have no times."""
    rows, untimed = [], []
    for each in found:
        if each.plan is None or not each.plan.max_concurrency:
            continue
        try:
            rows.append((each.name, *_row(each.plan, each.price)))
        except SizewellError as error:
            untimed.append(f"{each.name}: {error}")
    shown = html_table((first, *HEAD), rows, numeric=range(1, 7), stack=True) if rows else ""
    return shown, untimed


def _row(plan: Plan, price: Offer | None) -> tuple[str, ...]:
    """Raises PlanRefused where no times are known."""
    work = plan.workload
    case = queued(
        plan.model, plan.gpu, plan.deployment, speed_of(plan.gpu), request_of(work),
        work.concurrency,
    )  # fmt: skip
    return (
        f"{case.at_once:,}",
        _range(case.now.ttft),
        f"{1e3 * float(case.now.load.tpot_s):,.1f}",
        f"{case.now.output_tokens_per_s:,.0f}",
        *_dollars(case, price or cheapest(plan)),
    )


def _range(time: Time) -> str:
    return f"{1e3 * time.seconds:,.0f} ({1e3 * time.low_s:,.0f} to {1e3 * time.high_s:,.0f})"


def _dollars(case: Queued, price: Offer | None) -> tuple[str, str]:
    """A million tokens of prompts and of answers, which share the hour by the time they take."""
    if price is None:
        return "no price is listed", ""
    gpus, now = case.plan.deployment.gpus, case.now
    bill = cost(
        usd_per_hour=price.usd_per_hour(gpus),
        gpus=gpus,
        requests_per_s=now.requests_per_s,
        prompt_tokens=now.request.prompt_tokens,
        output_tokens=now.request.output_tokens,
        prefill_share=float(now.load.prefill_share),
    )
    return (
        f"{bill.usd_per_million_input_tokens:,.2f}",
        f"{bill.usd_per_million_output_tokens:,.2f}",
    )


def caption(plan: Plan) -> str:
    """Of which requests the times are, and what they leave out."""
    request = request_of(plan.workload)
    return (
        f"{counted(plan.workload.concurrency, 'user')} who each send {request.prompt_tokens:,} "
        f"tokens and get {request.output_tokens:,}, again as soon as they are answered; as many at "
        "once as memory holds by bytes alone. TPOT with prompts of others in between. Dollars: "
        f"cheapest listed price{_whose(plan)}, shared by prompts and answers by the time they take."
    )


def _whose(plan: Plan) -> str:
    price = cheapest(plan)
    if price is None:
        return ""
    return f" (of {plan.gpu.name} {price.words(plan.deployment.gpus)})"
