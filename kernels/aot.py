"""Compile kernels ahead of time for any card, with no GPU, and read off what they use.

A `Case` is one kernel as it would be launched. Triton's compiler and its interpreter cannot share a
process, so this must run where TRITON_INTERPRET is not set.
"""

import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget

from kernels.tiles import shared_memory_bytes


@dataclass(frozen=True)
class Case:
    """A kernel, the types of its run-time arguments and the values of its constants."""

    name: str
    kernel: Any
    signature: Mapping[str, str]
    constants: Mapping[str, Any]
    num_warps: int = 4
    num_stages: int = 2
    unaligned: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Usage:
    """What one compiled kernel takes of a multiprocessor."""

    name: str
    capability: int
    shared_bytes: int
    registers: int
    stack_bytes: int

    @property
    def fits(self) -> bool:
        """Within the card's shared memory, and nothing spilled to the stack."""
        return self.shared_bytes <= shared_memory_bytes(self.capability) and not self.stack_bytes


def compile_case(case: Case, capability: int) -> Usage:
    """Compile for compute capability `capability` (90 for 9.0)."""
    names = [parameter.name for parameter in case.kernel.params]
    signature = {name: case.signature.get(name, "constexpr") for name in names}
    constants = {(names.index(name),): value for name, value in case.constants.items()}
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(names)
        if signature[name][0] in "*i" and name not in case.unaligned
    }
    if case.kernel.is_gluon():
        from triton.experimental.gluon._runtime import GluonASTSource as Source
    else:
        from triton.compiler import ASTSource as Source
    source = Source(case.kernel, signature, constants, aligned)
    options = {"num_warps": case.num_warps, "num_stages": case.num_stages}
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    registers, stack = _resources(compiled.asm["cubin"])
    return Usage(case.name, capability, compiled.metadata.shared, registers, stack)


def _resources(cubin: bytes) -> tuple[int, int]:
    """Registers per thread and stack bytes, from the disassembler in Triton's package."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        said = subprocess.run(
            [tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    registers, stack = re.findall(r"REG:(\d+)\s+STACK:(\d+)", said)[-1]
    return int(registers), int(stack)
