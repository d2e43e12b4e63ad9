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
    max_registers: int | None = None  # of a thread; None leaves it to the compiler


@dataclass(frozen=True)
class Usage:
    """What one compiled kernel takes of a multiprocessor."""

    name: str
    capability: int
    shared_bytes: int
    registers: int
    stack_bytes: int
    spills_in_loops: int  # loads and stores of the stack, in loops that hold no other loop

    @property
    def fits(self) -> bool:
        """Within the card's shared memory, and no loop spills.

        Registers put aside for a whole tile of work (16 bytes) are allowed: ptxas does that now and
        then in kernels that hold every register they may.
        """
        enough = self.shared_bytes <= shared_memory_bytes(self.capability)
        return enough and self.stack_bytes <= 16 and not self.spills_in_loops


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
    if case.max_registers:
        options["maxnreg"] = case.max_registers
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    said = _disassembler(compiled.asm["cubin"], "--dump-resource-usage")
    registers, stack = map(int, re.findall(r"REG:(\d+)\s+STACK:(\d+)", said)[-1])
    spills = spills_in_loops(_disassembler(compiled.asm["cubin"], "--dump-sass")) if stack else 0
    return Usage(case.name, capability, compiled.metadata.shared, registers, stack, spills)


def _disassembler(cubin: bytes, option: str) -> str:
    """What the disassembler in Triton's package says."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(tool), option, file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def spills_in_loops(assembly: str) -> int:
    """Loads and stores of the stack in the innermost loops of a disassembled kernel."""
    found = re.findall(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.*?);", assembly, re.MULTILINE)
    code = [(int(place, 16), text) for place, text in found]
    jumps = [(re.search(r"\bBRA\b.*?0x([0-9a-f]+)", text), place) for place, text in code]
    loops = [(int(to[1], 16), place) for to, place in jumps if to and int(to[1], 16) < place]
    inner = [
        (begin, end)
        for begin, end in loops
        if not any(begin <= b and e <= end and (b, e) != (begin, end) for b, e in loops)
    ]
    return sum(
        bool(re.search(r"\b(LDL|STL)\b", text)) and any(b <= place <= e for b, e in inner)
        for place, text in code
    )
