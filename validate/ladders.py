"""Sizes at which each kernel is timed, and other sizes that are predicted from them."""

from planner.deployment import Deployment
from planner.timing.step_costs import step_costs
from validate.checks import Check, held_out, ladder
from validate.inputs import model_of

DECODE_MATMULS = [
    [64, 512, 2048], [64, 1024, 2048], [64, 2048, 4096], [64, 4096, 4096], [64, 8192, 4096],
    [64, 8192, 8192], [64, 16384, 8192], [64, 32768, 8192],
]  # fmt: skip
PREFILL_MATMULS = [
    [8192, 512, 2048], [8192, 1024, 1024], [8192, 2048, 2048], [8192, 4096, 4096],
    [8192, 8192, 8192], [8192, 16384, 8192],
]  # fmt: skip
NARROW_DECODES = [
    [1, 1024, 32, 8, 128], [8, 1024, 32, 8, 128], [16, 1024, 32, 8, 128], [12, 2048, 32, 8, 128],
    [4, 8192, 32, 8, 128], [16, 4096, 32, 8, 128], [16, 8192, 32, 8, 128], [64, 8192, 32, 8, 128],
]  # fmt: skip
WIDE_DECODES = [
    [2, 1024, 64, 8, 128], [8, 1024, 64, 8, 128], [16, 1024, 64, 8, 128], [8, 4096, 64, 8, 128],
    [64, 1024, 64, 8, 128], [32, 8192, 64, 8, 128],
]  # fmt: skip
KERNELS = (
    ladder("matmul", DECODE_MATMULS + PREFILL_MATMULS, 3.0),
    ladder("elementwise", [[64, 4096], [1024, 4096], [8192, 4096]], 3.0),
    ladder(
        "flash_attention",
        [[1024, 32, 8, 128], [4096, 32, 8, 128], [8192, 32, 8, 128], [16384, 32, 8, 128]], 1.5,
    ),
    ladder("paged_decode", NARROW_DECODES + WIDE_DECODES, 2.5),
)  # fmt: skip
MORE_KERNELS = (
    ladder("matmul", [[64, 2048, 4096], [64, 8192, 4096], [64, 16384, 8192], [8192, 2048, 2048],
                      [8192, 4096, 4096], [8192, 16384, 8192]], 2.0, numbers="fp8"),
    ladder("grouped_matmul", [[4, 32, 1024, 1024], [4, 64, 1536, 2048], [4, 128, 2048, 2048],
                              [512, 64, 1024, 1024], [512, 64, 2048, 2048],
                              [512, 128, 2048, 2048]], 4.0),
    ladder("routing", [[64, 128, 8], [1024, 128, 8], [8192, 128, 8]]),
    ladder("flash_attention", [[1024, 16, 16, 192], [4096, 16, 16, 192], [16384, 16, 16, 192]],
           5.0, value_dim="128"),
    ladder("flash_attention", [[2048, 32, 16, 128], [4096, 32, 16, 128], [16384, 32, 16, 128]],
           5.0, window="1024"),
    ladder("paged_decode", [[8, 1024, 32, 8, 128], [64, 1024, 32, 8, 128],
                            [64, 8192, 32, 8, 128]], 3.0, cache="fp8"),
    ladder("paged_decode", [[8, 4096, 32, 8, 128], [32, 4096, 32, 8, 128],
                            [128, 4096, 32, 8, 128]], 3.0, window="1024"),
    ladder("mla_decode", [[8, 1024, 16, 512, 64], [64, 1024, 16, 512, 64],
                          [64, 8192, 16, 512, 64], [8, 1024, 128, 512, 64],
                          [64, 1024, 128, 512, 64], [32, 8192, 128, 512, 64]], 5.0),
)  # fmt: skip
HELD_OUT = (
    held_out("matmul", [[48, 5120, 5120], [48, 13824, 5120], [6144, 5120, 5120]]),
    held_out("flash_attention", [[6144, 40, 8, 128]]),
    held_out(
        "paged_decode", [[20, 3000, 32, 8, 128], [24, 5000, 40, 8, 128], [16, 2048, 64, 8, 128]]
    ),
)


def ladders_for(model: str) -> tuple[Check, ...]:
    """The further ladders that predicting this model's dry run takes."""
    found, deployment = model_of(model), Deployment()
    work = step_costs(found, deployment, "decode", 1, [1]).work
    work += step_costs(found, deployment, "prefill", 1, [1]).work
    needed = {(w.kernel, word) for w in work for word in ("", *w.variant.split())}

    def wanted(check: Check) -> bool:
        kernel, options = check.arguments["kernel"], check.arguments
        words = ["window"] * ("window" in options)
        words += [options[key] for key in ("numbers", "cache") if key in options]
        words += [f"d192/{options['value_dim']}"] if "value_dim" in options else []
        return all((kernel, word) in needed for word in words or [""])

    return tuple(check for check in MORE_KERNELS if wanted(check))
