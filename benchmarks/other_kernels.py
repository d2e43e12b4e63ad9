"""Another version of `kernels/` beside this one, in the same process."""

import importlib
import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path

from benchmarks.decode_inputs import Kernels

PACKAGE = re.compile(
    r"(?<![\w.])kernels(?=\.\w)|(?<=from )kernels(?= import)|(?<=import )kernels\b"
)


def load(version: str, name: str, folder: Path) -> Kernels:
    """The kernels of a commit of this repository, or of a folder that is such a `kernels/`.

    They are copied to `folder` as a package called `name`. SystemExit if there is no such version.
    """
    if Path(version).is_dir():
        texts = {str(p.relative_to(version)): p.read_text() for p in Path(version).rglob("*.py")}
    else:
        texts = _of_commit(version)
    for place, text in texts.items():
        target = folder / name / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(PACKAGE.sub(name, text))
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    importlib.invalidate_caches()
    return Kernels(
        importlib.import_module(f"{name}.paged_decode").paged_decode_attention,
        importlib.import_module(f"{name}.mla_decode").mla_decode_attention,
    )


def _of_commit(commit: str) -> dict[str, str]:
    """The text of every module of that commit's `kernels/`, by its place there."""
    found = subprocess.run(
        ["git", "archive", commit, "kernels"], capture_output=True, cwd=Path(__file__).parents[1]
    )
    if found.returncode:
        why = found.stderr.decode().strip().splitlines()[-1:]
        raise SystemExit(f"{commit} is neither a folder nor a commit with kernels/: {''.join(why)}")
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        return {
            member.name.removeprefix("kernels/"): file.read().decode()
            for member in archive
            if member.name.endswith(".py") and (file := archive.extractfile(member))
        }
