"""The suites without a GPU: every kind of check, at sizes that Triton's interpreter can do."""

from validate.checks import (
    Check,
    Options,
    correctness,
    held_out,
    ladder,
    memory,
    training,
    training_settings,
)

MIB = 2**20


def rehearsal(suite: str) -> tuple[Check, ...]:
    """A rehearsal without a GPU: every kind of check, at sizes the interpreter can do."""
    plan: Options = {"model": "rehearsal", "deployment": {
        "enforce_eager": True, "max_num_batched_tokens": 32}}  # fmt: skip
    quick = (
        Check("card/roofs", "Measuring the roofs of this card", "roofs:roof_cases",
              {"gib": 1 / 2**12, "matrix": 64}, 1.0, ("gpu",)),
        memory("allocator", "The allocator's rounding", requests=[[512]]),
        memory("pool", "Paged pools and block tables", shapes=["tiny GQA", "MLA"],
                formats=["fp16", "fp8"], sizes=[[100, 2]], layers=2),
        memory("naive", "Materialised scores", shapes=["tiny GQA"], tokens=[64]),
        memory("flash", "Flash attention's workspace", shapes=["tiny GQA"], tokens=[32]),
        memory("split", "Split-KV partials", shapes=["tiny GQA"], formats=["fp16"],
                sizes=[[512, 1]]),
        Check("memory/sharing", "Blocks that sequences share", "sharing_checks:sharing_cases",
              {"sequences": 3, "prompt": 40, "own": 7, "heads": 4, "kv_heads": 2, "dim": 64}),
        memory("logits", "Logits", sizes=[[4, 512, 64]]),
        correctness("prefill_cases", "Prefill kernels against float64", 1.0,
                     settings=[{"tokens": 40, "heads": 2, "kv_heads": 1, "dim": 64}]),
        correctness("decode_cases", "Decode kernels against float64", 1.0, settings=[
            {"sequences": 2, "context": 40, "heads": 2, "kv_heads": 1, "dim": 64}]),
        ladder("matmul", [[4, 64, 64]]),
        ladder("paged_decode", [[1, 64, 2, 1, 64]]),
        held_out("matmul", [[4, 96, 64]]),
        Check("dry_run/rehearsal", "Dry run of a tiny model", "dry_run:dry_run_cases",
              {"name": "rehearsal", **plan, "workload": {"context": 32, "concurrency": 2}},
              3.0, ("plan",)),
        Check("wall/rehearsal", "Most users of a tiny model", "wall:wall_cases",
              {"name": "rehearsal", **plan, "context": 32, "pretend_bytes": 860 * MIB}, 2.0,
              ("plan",)),
    )  # fmt: skip
    more = (
        ladder("elementwise", [[16, 128]]),
        ladder("routing", [[8, 4, 2]]),
        ladder("grouped_matmul", [[4, 4, 32, 32]]),
        ladder("flash_attention", [[32, 2, 1, 64]]),
        ladder("mla_decode", [[1, 32, 4, 64, 16]]),
        correctness("varlen_case", "Packed prefill", 1.0, lengths=[20, 0, 9], heads=2,
                     kv_heads=1, dim=64),
        correctness("mla_cases", "MLA decode", 1.0, settings=[
            {"sequences": 2, "context": 32, "heads": 4, "rank": 64, "rope": 16}]),
        correctness("store_cases", "Cache stores", 1.0, tokens=20, kv_heads=2, dim=64,
                     formats=["fp16", "fp8"]),
        training("rehearsal", 2.0, *training_settings(32)[::3]),
        Check("speed/claims", "Flash against naive attention", "speed_checks:flash_claims",
              {"tokens": [32, 64], "heads": 2, "dim": 64}, 1.0),
        Check("speed/cache", "Paged and fp8 caches", "cache_claims:cache_claims",
              {"sequences": 2, "context": 1024, "heads": 2, "kv_heads": 1, "dim": 64}, 1.0),
        Check("speed/cached", "Cached against uncached decoding", "speed_checks:cached_case",
              {**plan, "layers": 2, "context": 32}, 2.0, ("plan",)),
    )  # fmt: skip
    return quick if suite == "quick" else (*quick, *more)
