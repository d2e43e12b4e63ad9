import sys
from pathlib import Path
from types import FunctionType

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

import kernels  # noqa: E402
from benchmarks.decode_inputs import OURS  # noqa: E402
from benchmarks.other_kernels import load  # noqa: E402

SOURCE = Path(kernels.__file__).parent


def test_another_version_runs_beside_ours_and_is_made_of_its_own_modules(tmp_path):
    other = load(str(SOURCE), "kernels_beside", tmp_path)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    q = torch.randn(2, 4, 64, device=device, dtype=torch.float16)
    k, v = torch.randn(2, 3, 16, 2, 64, device=device, dtype=torch.float16)
    given = q, k, v, torch.tensor([[2], [0]], device=device), torch.tensor([13, 5], device=device)
    given = *given[:3], given[3].int(), given[4].int()
    assert torch.equal(other.paged(*given), OURS.paged(*given))
    own = [name for name in sys.modules if name.startswith("kernels_beside")]
    assert len(own) > 10
    for name in own:
        for value in vars(sys.modules[name]).values():
            if isinstance(value, FunctionType):
                assert not value.__module__.startswith("kernels."), f"{name}: {value}"


def test_what_differs_there_differs(tmp_path):
    changed = tmp_path / "changed"
    changed.mkdir()
    for module in ("__init__.py", *(str(p.relative_to(SOURCE)) for p in SOURCE.rglob("*.py"))):
        (changed / module).parent.mkdir(exist_ok=True)
        (changed / module).write_text((SOURCE / module).read_text())
    checks = changed / "decode_checks.py"
    checks.write_text(checks.read_text() + "\nraise RuntimeError('the changed file')\n")
    with pytest.raises(RuntimeError, match="the changed file"):
        load(str(changed), "kernels_changed", tmp_path)


def test_no_version_is_said_to_be_none(tmp_path):
    with pytest.raises(SystemExit, match="no-such is neither a folder nor a commit with kernels/"):
        load("no-such", "kernels_none", tmp_path)
