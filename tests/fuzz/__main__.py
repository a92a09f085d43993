"""
Fuzz lamina for some minutes, and repeat a finding::

    python -m fuzz --minutes 10                  # every kind, each in a process of its own
    python -m fuzz --kind store --seed 7         # one kind
    python -m fuzz --replay FINDING.json         # run one finding again

A finding is a file with the changes of one case. Only the first finding of each cause is kept.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from forks import import_lamina
from fuzz.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forks import Outcome
    from fuzz.kinds import Kind

_FINDINGS = Path("fuzz-findings")


def main() -> int:
    """Run the command line, and return 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument(
        "--minutes", type=_positive, default=1.0, help="fuzz for so long, all kinds at the same time (default: 1)"
    )
    parser.add_argument(
        "--kind", action="append", choices=sorted(KINDS), help="fuzz this kind; repeatable (default: all)"
    )
    parser.add_argument("--seed", type=int, help="seed the random cases (default: the time)")
    parser.add_argument("--findings", type=Path, default=_FINDINGS, help=f"write findings here (default: {_FINDINGS})")
    parser.add_argument("--cases", type=_count, help="run this number of cases of each kind, one kind after another")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run a finding again")
    arguments = parser.parse_args()
    seed = int(time.time()) if arguments.seed is None else arguments.seed
    if arguments.replay is not None:
        try:
            told = json.loads(arguments.replay.read_text())
            kind = KINDS[told["kind"]]
            changes = {file: base64.b64decode(content) for file, content in told["changes"].items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            parser.error(f"`{arguments.replay}` is not a finding: {error}")
        return _replay(kind, changes)
    kinds = arguments.kind or list(KINDS)
    if len(kinds) > 1 and arguments.cases is None:
        command = [sys.executable, "-m", "fuzz", f"--minutes={arguments.minutes}", f"--findings={arguments.findings}"]
        running = [subprocess.Popen([*command, f"--kind={kind}", f"--seed={seed}"]) for kind in kinds]
        return max(process.wait() for process in running)
    import_lamina()
    return max(_fuzz(kind, seed, arguments.minutes * 60, arguments.cases, arguments.findings) for kind in kinds)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise ValueError(text)
    return number


def _count(text: str) -> int:
    return int(_positive(str(int(text))))


def _fuzz(name: str, seed: int, seconds: float, cases: int | None, findings: Path) -> int:
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    found: dict[str, int] = {}
    codes: dict[str, int] = {}
    number, slowest, largest = 0, 0.0, 0
    with tempfile.TemporaryDirectory() as directory, KINDS[name](Path(directory)) as kind:
        for changes in kind.valid():
            wrong, outcome = kind.check(changes)
            if wrong or outcome.code != 0:
                raise AssertionError(f"{name} does not start from a valid service: {wrong} {outcome.err}")
        end = time.monotonic() + seconds
        # One case at least: without any, a run would look like success.
        while number < cases if cases is not None else number == 0 or time.monotonic() < end:
            number += 1
            changes = kind.change(chance)
            wrong, outcome = kind.check(changes)
            slowest, largest = max(slowest, outcome.seconds), max(largest, outcome.memory_bytes)
            codes[str(outcome.code)] = codes.get(str(outcome.code), 0) + 1
            if wrong:
                cause = _cause(wrong, outcome)
                found[cause] = found.get(cause, 0) + 1
                if found[cause] == 1:
                    _write(findings / f"{name}-{seed}-{number}.json", name, changes, wrong, outcome)
    _say(
        f"{name}: {number} cases with seed {seed}, exit codes {dict(sorted(codes.items()))}, "
        f"slowest {slowest:.1f} s, largest {largest // 1_000_000} MB, {len(found)} causes in {sum(found.values())} findings"
    )
    for cause, times in found.items():
        _say(f"  {times} times: {cause}")
    return 1 if found else 0


def _cause(wrong: Sequence[str], outcome: Outcome) -> str:
    """Return what identifies a fault: the last place in lamina and the exception of a traceback, or the error without its names."""
    places = re.findall(r"lamina/([\w/]+\.py)\", line (\d+)", outcome.err)
    last = [line for line in outcome.err.splitlines() if re.match(r"[\w.]+(Error|Exception|Interrupt|Warning)\b", line)]
    detail = ":".join((*places[-1], last[-1].partition(":")[0])) if places and last else ""
    if not detail:
        detail = re.sub(r"`[^`]*`|\d+", "…", outcome.err[:80].partition("\n")[0])
    return f"{re.sub(r'[0-9]+|: .*', '…', wrong[0])} {detail}".strip()


def _write(path: Path, name: str, changes: Mapping[str, bytes], wrong: Sequence[str], outcome: Outcome) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = {file: base64.b64encode(content).decode() for file, content in changes.items()}
    told = {"kind": name, "wrong": wrong, "code": outcome.code, "err": outcome.err[-5000:], "changes": encoded}
    path.write_text(json.dumps(told, indent=1))
    _say(f"{name}: {', '.join(wrong)}: {path}")


def _replay(kind: type[Kind], changes: dict[str, bytes]) -> int:
    with tempfile.TemporaryDirectory() as directory, kind(Path(directory)) as world:
        wrong, outcome = world.check(changes)
    _say(f"{outcome.out}{outcome.err}\nexit code {outcome.code} after {outcome.seconds:.1f} s")
    _say("\n".join(f"wrong: {each}" for each in wrong) or "nothing is wrong")
    return 1 if wrong else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
