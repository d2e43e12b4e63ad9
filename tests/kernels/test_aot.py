"""Every default tile compiles for A100, H100/H200 and B200, fits, and spills nothing."""

import json
import os
import subprocess
import sys

import pytest


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
    assert all(kernel["registers"] > 0 and kernel["stack_bytes"] == 0 for kernel in kernels)
