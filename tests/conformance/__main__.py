"""

Print a comparison of real layers with installations by uv: ``python tests/conformance [SET …]``.

This needs the package index. ``pytest --live tests/conformance`` makes the same checks, and more.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from conformance.case import build, install_reference, lock, write_project
from conformance.compare import compare, machines
from conformance.sets import SETS, RealSet

_COLUMNS = "{:14} {:20} {:>5} {:>6} {:>8} {:>5} {:>8} {:>7} {:>5}  {}"


def _row(real: RealSet, directory: Path) -> tuple[str, bool]:
    project = directory / "project"
    write_project(real, project)
    lock(real, project)
    started = time.perf_counter()
    case = build(real, project, directory / "store")
    seconds = time.perf_counter() - started
    install_reference(real, project, directory / "reference")
    comparison = compare(case.layer, directory / "reference")
    libraries = machines(case.layer)
    foreign = [path for path, machine in libraries.items() if machine != real.architecture]
    wrong = [*comparison.missing, *comparison.unexpected, *comparison.different, *comparison.modes, *foreign]
    row = _COLUMNS.format(
        real.name,
        f"{real.runtime} {real.architecture}",
        case.distributions,
        comparison.files,
        f"{case.layer.stat().st_size / 1e6:.1f}",
        len(libraries),
        len(comparison.left_out),
        len(wrong),
        f"{seconds:.1f}",
        real.why if not wrong else f"DIFFERS: {', '.join(wrong[:3])}",
    )
    return row, not wrong


def _main(names: list[str]) -> int:
    sys.stdout.write(
        _COLUMNS.format("set", "target", "dists", "files", "MB", "ELF", "left out", "wrong", "s", "why") + "\n"
    )
    conforms = True
    for real in SETS:
        if not names or real.name in names:
            with tempfile.TemporaryDirectory() as directory:
                row, good = _row(real, Path(directory))
            sys.stdout.write(row + "\n")
            sys.stdout.flush()
            conforms = conforms and good
    return 0 if conforms else 1


if __name__ == "__main__":
    raise SystemExit(_main(sys.argv[1:]))
