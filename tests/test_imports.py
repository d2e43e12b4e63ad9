"""Imports run one way, and the pure rooms stay pure."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "planner": {"planner"},
    "presets": {"planner", "presets"},
    "kernels": {"kernels"},
    "validate": {"planner", "presets", "kernels", "validate"},
    "ui": {"planner", "presets", "validate", "ui"},
    "cli": {"planner", "presets", "validate", "ui", "cli"},
}
ROOMS = set(ALLOWED) | {"app", "benchmarks", "tests"}
HF_CONFIG = ROOT / "planner" / "hf_config"
FAMILIES = ("layers", "dense", "experts", "latents", "states")
"""Rooms of planner/hf_config, each of which may import those before it."""
PLANNER_LIBRARIES = {"pydantic", "numpy"}
KERNEL_LIBRARIES = {"torch", "triton"}
ENTRY = ROOT / "planner" / "__main__.py"


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_imports_run_one_way(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        if path == ENTRY:
            continue
        wrong = imported(path) & ROOMS - ALLOWED[room]
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def rooms_imported(path: Path) -> set[str]:
    """Rooms of planner/hf_config that a file of it imports."""
    modules = {
        node.module.split(".")[2]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and node.module
        and node.module.startswith("planner.hf_config.")
    }
    return {module for module in modules if (HF_CONFIG / module).is_dir()}


@pytest.mark.parametrize("room", [*FAMILIES, "towers"])
def test_rooms_of_configurations_import_one_way(room: str) -> None:
    before = set(FAMILIES[: FAMILIES.index(room)]) if room in FAMILIES else set()
    for path in (HF_CONFIG / room).glob("*.py"):
        wrong = rooms_imported(path) - before - {room}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_only_the_answer_knows_the_rooms_of_configurations() -> None:
    """Readers of a file and the register import none: rooms import those."""
    rooms = {path.name for path in HF_CONFIG.iterdir() if (path / "__init__.py").is_file()}
    assert rooms == {*FAMILIES, "towers"}
    knowing = {path.name for path in HF_CONFIG.glob("*.py") if rooms_imported(path)}
    assert knowing == {"__init__.py"}


@pytest.mark.parametrize(
    ("room", "libraries"), [("planner", PLANNER_LIBRARIES), ("kernels", KERNEL_LIBRARIES)]
)
def test_pure_rooms_use_their_libraries_only(room: str, libraries: set[str]) -> None:
    for path in (ROOT / room).rglob("*.py"):
        outside = imported(path) - set(sys.stdlib_module_names) - ROOMS - libraries
        assert not outside, f"{path.relative_to(ROOT)} imports {outside}"


def test_a_plan_needs_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from cli import main; "
        "main(['plan', '--model', 'llama-3.1-8b', '--gpu', 'h100-sxm5-80gb']); "
        "heavy = {'torch', 'numpy', 'pandas', 'streamlit', 'plotly', 'triton'} & set(sys.modules); "
        "sys.exit(1 if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
