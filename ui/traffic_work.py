"""The Traffic page's inputs: what arrives, on how many replicas, and what is promised."""

import io
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import streamlit as st

from planner.deployment import Deployment
from planner.serving.drafted_steps import Drafting
from planner.serving.engine_replica import engine_replica, moved
from planner.serving.metrics import Slo
from planner.serving.objective import Traffic
from planner.serving.replica import Replica, replica_of
from planner.serving.requests import Request, Sampler, always, synthetic
from planner.serving.simulator import ROUTERS, Router
from planner.serving.trace import read_trace
from presets.speed import speed_of
from presets.traffic import sampler
from presets.workloads import all_trace_summaries
from ui import engine_inputs, whole
from ui.bound import BOUND
from ui.engine_inputs import EngineChoice
from ui.inputs import Chosen
from ui.model_source import NothingYet
from ui.uploads import MAX_UPLOAD_MIB, text_of

USUAL = Slo()
MOST_TOKENS = 2**20
FIXED, UPLOADED = "Fixed lengths", "A trace of my own (CSV)"


@dataclass(frozen=True)
class Work:
    """What the page simulates. prompt, output: lengths of drawn requests, which `drawn` names;
    trace: an uploaded file's text."""

    note: str
    drawn: tuple[str, int, int]
    prompt: Sampler = field(compare=False)
    output: Sampler = field(compare=False)
    trace: str | None
    rate: float
    count: int
    cv: float
    shared: int
    seed: int
    replicas: int
    router: Router
    slo: Slo

    def traffic(self, shared: int | None = None, count: int | None = None) -> Traffic:
        """Drawn requests of a rate and a seed."""

        def draw(rate: float, seed: int) -> Iterable[Request]:
            return synthetic(
                rate=rate, count=count or self.count, prompt=self.prompt, output=self.output,
                cv=self.cv, shared_tokens=self.shared if shared is None else shared, seed=seed,
            )  # fmt: skip

        return draw

    def requests(self) -> Iterable[Request]:
        """The uploaded trace, else drawn requests."""
        if self.trace is not None:
            return read_trace(io.StringIO(self.trace))
        return self.traffic()(self.rate, self.seed)


@dataclass(frozen=True)
class Pool:
    """Whose memory a replica has. engine: None by bytes alone."""

    engine: EngineChoice | None

    def replica(self, chosen: Chosen, *, drafts: bool = True) -> Replica:
        """One replica of what is chosen on the left. drafts: whether those asked for are taken."""
        if self.engine is not None:
            one = self.engine
            asked = Drafting.asked(one.options, chosen.model, one.draft, one.acceptance)
            return engine_replica(
                one.figures(chosen), chosen.model, chosen.gpu, chosen.deployment,
                speed_of(chosen.gpu), config=chosen.config, drafting=asked if drafts else None,
            )  # fmt: skip
        longest = chosen.model.max_position_embeddings or chosen.workload.context
        return replica_of(
            chosen.model, chosen.gpu, chosen.deployment, speed_of(chosen.gpu),
            max_model_len=min(longest, 131072),
        )  # fmt: skip

    def moved(self, chosen: Chosen, deployment: Deployment) -> Replica:
        """The replica of another deployment; what it changes may be the engine's flag too."""
        pool = self
        if self.engine is not None:
            one = self.engine
            options = moved(one.name, one.options, chosen.deployment, deployment)
            pool = Pool(replace(one, options=options))
        return pool.replica(replace(chosen, deployment=deployment))


def choose_pool(chosen: Chosen) -> Pool:
    """Draw whose memory it is: the Engine page's choice, with its flags, or bytes alone."""
    alone = st.toggle(
        "Memory by bytes alone", key="bytes_alone",
        help="All that weights and buffers leave, without what an engine keeps back.", **BOUND,
    )  # fmt: skip
    return Pool(None if alone else engine_inputs.choose(chosen))


def choose() -> Work:
    """Draw the inputs. Raises NothingYet without the trace, PlanRefused if it is unreadable."""
    known = {summary.name: summary for summary in all_trace_summaries()}
    a, b, c, d = st.columns((3, 2, 2, 2))
    name = a.selectbox("Requests", [*known, FIXED, UPLOADED], key="requests", **BOUND)
    rate = b.number_input("Requests per second", 0.01, 10000.0, 4.0, key="rate", **BOUND)
    with c:
        replicas = whole.count("Replicas", "replicas", 1, 256, 1, **BOUND)
    router = d.selectbox("Router", ROUTERS, key="router", format_func=lambda r: r.replace("_", " "),
                         **BOUND)  # fmt: skip
    a, b, c, d = st.columns((3, 2, 2, 2))
    ttft = a.number_input("TTFT, at most (s)", 0.01, 3600.0, USUAL.ttft_s, key="ttft", **BOUND)
    tpot = b.number_input(
        "TPOT, at most (ms)", 0.1, 60000.0, 1e3 * USUAL.tpot_s, key="tpot", **BOUND
    )
    share = c.number_input(
        "Kept for (% of requests)", 1.0, 100.0, 100 * USUAL.share, key="share", **BOUND
    )
    with d:
        shared = whole.token_count("Shared prefix (tokens)", "common", 0, MOST_TOKENS, 0, **BOUND)
    more = st.expander("Number of requests, bursts, seed", key="open_draws")
    a, b, c = more.columns(3)
    with a:
        count = whole.count("Requests in all", "count", 10, 200_000, 2000, **BOUND)
    cv = b.number_input(
        "Variation of gaps", 0.0, 20.0, 1.0, key="cv", help="0 even, 1 Poisson, more: bursts",
        **BOUND,
    )  # fmt: skip
    with c:
        seed = whole.count("Seed", "seed", 0, 10**6, 0, **BOUND)
    note, trace = "", None
    tokens = (1000, 200)
    prompt, output = map(always, tokens)
    if name in known:
        summary = known[name]
        prompt, output = sampler(summary.context_tokens), sampler(summary.generated_tokens)
        note = f"Lengths by the quantiles of: {summary.attribution}."
    elif name == FIXED:
        left, right = st.columns(2)
        with left:
            sent = whole.token_count("Prompt tokens", "p", 1, MOST_TOKENS, tokens[0], **BOUND)
        with right:
            got = whole.token_count("Answer tokens", "o", 1, MOST_TOKENS, tokens[1], **BOUND)
        tokens = (sent, got)
        prompt, output = map(always, tokens)
    else:
        file = st.file_uploader(
            f"TIMESTAMP, ContextTokens, GeneratedTokens (up to {MAX_UPLOAD_MIB} MiB)",
            key="trace_file",
            max_upload_size=MAX_UPLOAD_MIB,
        )
        if file is None:
            raise NothingYet("Choose a trace: a CSV of TIMESTAMP, ContextTokens, GeneratedTokens.")
        trace = text_of(file)
        note = f"Requests and their times from {file.name}; the rate is the trace's own."
    return Work(
        note, (name, *tokens), prompt, output, trace, float(rate), count, float(cv), shared, seed,
        replicas, router, Slo(float(ttft), float(tpot) / 1e3, float(share) / 100),
    )  # fmt: skip
