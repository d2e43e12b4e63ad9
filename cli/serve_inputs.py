"""What the flags of `serve` ask for: one case, and the requests that arrive."""

import io
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from planner.errors import PlanRefused
from planner.search.space import IDEAL

if TYPE_CHECKING:
    from planner.deployment import Deployment
    from planner.frozen import Frozen
    from planner.model import Model
    from planner.serving.drafted_steps import Drafting
    from planner.serving.requests import Request, Sampler
    from planner.serving.study import Case


def case_of(arguments: Namespace, chosen: tuple[tuple[str, str], ...], model: "Model") -> "Case":
    """The simulation of the flags, but for what arrives."""
    from planner.serving.study import Case

    drafting, draft = drafting_of(arguments, model)
    return Case(
        chosen=chosen,
        deployment=deployment_of(arguments),
        options=options_of(arguments),
        max_num_seqs=arguments.max_num_seqs,
        max_model_len=arguments.max_model_len,
        prefix_caching=not arguments.no_enable_prefix_caching,
        drafting=drafting,
        draft=draft,
        reserve=arguments.reserve,
        batching=arguments.batching,
        replicas=arguments.replicas,
        router=arguments.router,
    )


def drafting_of(arguments: Namespace, model: "Model") -> "tuple[Drafting | None, Model | None]":
    """How tokens are drafted, and the model that is loaded for it."""
    from cli.engine_flags import draft_of, speculative_config
    from planner.serving.drafted_steps import Drafting
    from planner.timing.drafting import eagle_like

    config, tokens = speculative_config(arguments.speculative_config), arguments.lookahead
    if not 0 <= tokens <= 1024:
        raise PlanRefused(f"--lookahead {tokens:,} must be from 0 to 1,024")
    if config is None and not tokens:
        if arguments.acceptance is not None and not arguments.tried:
            raise PlanRefused("--acceptance is of draft tokens: add --lookahead 3")
        return None, None
    if config is None:
        return Drafting(eagle_like(model), tokens, arguments.acceptance, tokens), None
    if tokens:
        raise PlanRefused("--speculative-config says how many are drafted: leave out --lookahead")
    if arguments.engine != "vllm":
        raise PlanRefused("--speculative-config is a flag of --engine vllm: use --lookahead")
    draft, options = draft_of(config), options_of(arguments)
    assert options is not None
    return Drafting.asked(options[1], model, draft, arguments.acceptance), draft


def deployment_of(arguments: Namespace) -> "Deployment":
    """The deployment of the flags."""
    from cli.deployment_flags import checked
    from planner.deployment import Deployment

    sizes = {
        name: getattr(arguments, name)
        for name in ("block_size", "max_num_batched_tokens")
        if getattr(arguments, name) is not None
    }
    found: Deployment = checked(
        Deployment,
        tensor_parallel_size=arguments.tensor_parallel_size,
        weights_dtype=arguments.weights_dtype,
        kv_cache_dtype=arguments.kv_cache_dtype,
        **sizes,
    )
    return found


def options_of(arguments: Namespace) -> "tuple[str, Frozen] | None":
    """The engine with its options; None by bytes alone."""
    if arguments.engine == IDEAL:
        for name in ("engine_version", "gpu_memory_utilization"):
            if getattr(arguments, name) is not None:
                flag = name.replace("_", "-")
                raise PlanRefused(f"--{flag} is an engine's flag: leave out --engine {IDEAL}")
        return None
    from cli.engine_flags import speculative_config
    from planner.serving.engine_replica import options_for

    asked = {
        name: getattr(arguments, name)
        for name in ("block_size", "max_num_batched_tokens", "max_num_seqs", "max_model_len",
                     "gpu_memory_utilization")
    }  # fmt: skip
    asked["version"] = arguments.engine_version
    asked["speculative_config"] = speculative_config(arguments.speculative_config)
    if arguments.no_enable_prefix_caching:
        asked["enable_prefix_caching"] = False
    return arguments.engine, options_for(arguments.engine, asked)


def trace_of(arguments: Namespace, speedup: float) -> "tuple[Request, ...]":
    """The requests of --trace, arriving `speedup` times as fast. It may be a pipe, which can be
    read only once."""
    with _open(arguments.trace) as lines:
        return tuple(_trace(lines, speedup))


def lengths_of(arguments: Namespace) -> "tuple[Sampler, Sampler]":
    """Prompt and answer lengths of the flags."""
    from planner.serving.requests import always
    from presets.traffic import sampler
    from presets.workloads import load_trace_summary

    known = load_trace_summary(arguments.workload)
    prompt, output = sampler(known.context_tokens), sampler(known.generated_tokens)
    for name in ("prompt_tokens", "output_tokens"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise PlanRefused(f"--{name.replace('_', '-')} {value} must be at least 1")
    if arguments.prompt_tokens:
        prompt = always(arguments.prompt_tokens)
    if arguments.output_tokens:
        output = always(arguments.output_tokens)
    return prompt, output


def requests_of(arguments: Namespace, rate: float, seed: int) -> "Iterator[Request]":
    """Requests of the flags, without a trace."""
    from planner.serving.requests import synthetic

    prompt, output = lengths_of(arguments)
    return synthetic(
        rate=rate, count=arguments.requests, prompt=prompt, output=output,
        cv=arguments.variation, shared_tokens=arguments.shared_prefix_tokens, seed=seed,
    )  # fmt: skip


def longest_of(requests: "Iterable[Request]") -> int:
    """Tokens of the longest request that will come."""
    return max((request.tokens for request in requests), default=1)


def _open(name: str) -> io.TextIOBase:
    try:
        return Path(name).open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise PlanRefused(f"--trace {name}: {(error.strerror or 'no file').lower()}") from None


def _trace(lines: Iterable[str], speedup: float) -> "Iterator[Request]":
    from planner.serving.requests import faster
    from planner.serving.trace import read_trace

    if not 0 < speedup < 1e6:
        raise PlanRefused(f"--speedup {speedup:g} must be above 0")
    return faster(read_trace(lines), speedup)
