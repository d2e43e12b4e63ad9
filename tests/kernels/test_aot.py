"""Every default tile compiles for A100, H100/H200 and B200, fits, and spills in no loop."""

import json
import os
import subprocess
import sys

import pytest

from kernels.aot import spills_in_loops


@pytest.mark.slow
def test_default_tiles_fit_and_do_not_spill(tmp_path):
    """In a process of its own: Triton's compiler and interpreter exclude each other."""
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.aot_report", "--json", str(report)],
        env={name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, "\n".join(
        line for line in (done.stdout + done.stderr).splitlines() if "| fits |" not in line
    )
    kernels = json.loads(report.read_text())["kernels"]
    assert {kernel["capability"] for kernel in kernels} == {80, 90, 100}
    assert all(kernel["registers"] > 0 and kernel["spills_in_loops"] == 0 for kernel in kernels)
    stacks = {kernel["name"]: kernel["stack_bytes"] for kernel in kernels if kernel["stack_bytes"]}
    assert all(size <= 16 for size in stacks.values()), stacks


def test_spills_count_in_the_innermost_loops_only():
    assembly = """
        /*0000*/                   STL [R1], R0 ;
        /*0010*/                   MUFU.EX2 R3, R3 ;
        /*0020*/                   LDL R4, [R1+0x8] ;
        /*0030*/              @!P0 BRA 0x10 ;
        /*0040*/                   LDL.LU R0, [R1] ;
        /*0050*/               @P1 BRA 0x0 ;
        /*0060*/                   BRA 0x60;
    """
    assert spills_in_loops(assembly) == 1
    assert spills_in_loops(assembly.replace("LDL R4", "LDS R4")) == 0
