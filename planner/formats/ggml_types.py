"""Types of tensors in GGUF files, by the number that a file gives.

    ggml_type(12).name        # "q4_k"

Numbers: GGMLQuantizationType, sizes: GGML_QUANT_SIZES of llama.cpp's gguf-py/gguf/constants.py
(2026, commit 0024aa74).
"""

from planner.errors import ConfigRefused
from planner.formats.weight_formats import BF16, FP16, FP32, GGUF, MXFP4, WeightFormat

_NUMBERS = {
    2: "q4_0", 3: "q4_1", 6: "q5_0", 7: "q5_1", 8: "q8_0", 10: "q2_k", 11: "q3_k", 12: "q4_k",
    13: "q5_k", 14: "q6_k", 16: "iq2_xxs", 17: "iq2_xs", 18: "iq3_xxs", 19: "iq1_s", 20: "iq4_nl",
    21: "iq3_s", 22: "iq2_s", 23: "iq4_xs", 29: "iq1_m", 34: "tq1_0", 35: "tq2_0",
}  # fmt: skip

_OTHERS = {
    15: ("q8_k", 256, 292), 24: ("i8", 1, 1), 25: ("i16", 1, 2),
    26: ("i32", 1, 4), 27: ("i64", 1, 8), 28: ("f64", 1, 8), 40: ("ggml_nvfp4", 64, 36),
    41: ("q1_0", 128, 18),
}  # fmt: skip
"""Types that no weights dtype is named after. ggml's NVFP4 has no scale per matrix.

Q8_1 (9) is left out: no file stores it, and ggml-common.h gives it 36 bytes where gguf-py says 40.
"""

TYPES: dict[int, WeightFormat] = {
    0: FP32,
    1: FP16,
    30: BF16,
    39: MXFP4,
    **{number: GGUF[name] for number, name in _NUMBERS.items()},
    **{
        number: WeightFormat(name, f"GGUF blocks of {n} in {size} B", n, size, exact_blocks=True)
        for number, (name, n, size) in _OTHERS.items()
    },
}
BY_NAME = {fmt.name: fmt for fmt in TYPES.values()}


def ggml_type(number: int) -> WeightFormat:
    """The type of that number. Raises ConfigRefused for one that is not known."""
    found = TYPES.get(number)
    if found is None:
        raise ConfigRefused(
            f"tensor type {number} is none that Sizewell knows, so its bytes are not either"
        )
    return found
