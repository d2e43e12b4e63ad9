"""The server reads what the first page needs before anybody asks for it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def answer(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_after_reading_the_plan_page_imports_nothing_of_ours() -> None:
    code = (
        "import sys; from streamlit.testing.v1 import AppTest; from ui import readiness; "
        "readiness.read(); known = set(sys.modules); "
        f"page = AppTest.from_file({str(ROOT / 'app.py')!r}, default_timeout=60).run(); "
        "late = {name for name in set(sys.modules) - known "
        "if name.split('.')[0] in {'planner', 'presets', 'validate', 'ui', 'numpy'}}; "
        "print(len(page.exception), len(page.success), sorted(late), 'torch' in sys.modules)"
    )
    assert answer(code) == "0 1 [] False"


def test_garbage_collection_and_turns_are_as_before_the_reading() -> None:
    code = (
        "import gc, sys; from ui import readiness; before = sys.getswitchinterval(); "
        "readiness.read(); "
        "print(gc.isenabled(), gc.get_freeze_count() > 0, sys.getswitchinterval() == before)"
    )
    assert answer(code) == "True True True"


def test_what_is_served_is_app_py_itself() -> None:
    """`streamlit run` finds `app` in app.py without running it, and runs that file as the page."""
    code = (
        "from pathlib import Path; from streamlit.web.server.app_discovery import "
        "discover_asgi_app as find; import app; "
        "print(find(Path('app.py')).import_string, app.app.script_path.name)"
    )
    assert answer(code) == "app:app app.py"


def test_numpy_is_told_to_keep_to_one_core_before_it_is_there() -> None:
    code = (
        "import os, sys; os.environ.pop('OPENBLAS_NUM_THREADS', None); import app; "
        "print(os.environ['OPENBLAS_NUM_THREADS'], 'numpy' in sys.modules)"
    )
    assert answer(code) == "1 False"
