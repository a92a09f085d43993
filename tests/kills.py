"""
Kill builds, builds from source, publications and deployments at random moments, and prove that the next run makes up for it.

``make kills N=200`` runs this program, with ``SEED=0`` by default. The suite runs a few rounds.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from lamina.local.sandbox.installation import bare
from lamina.local.sandbox.server import Sandbox
from locking import write_pylock
from loopback import IndexServer
from services import HANDLER
from sourceprojects import make_sdist, source_files
from wheels import make_wheel, sha256

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_CREATE = ("--create", "--role", "arn:aws:iam::000000000000:role/service", "--region", "us-east-1")
COMMANDS: dict[str, tuple[str, ...]] = {
    "build": ("build",),
    "source": ("build",),
    "publish": ("publish", "--region", "us-east-1"),
    "deploy": ("deploy", *_CREATE),
}
_PARALLEL = 3
_PATIENCE_SECONDS = 120
# Programs that are started in the background ignore SIGINT.
_LAMINA = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from lamina.cli.main import entry_point
entry_point()
"""
# Precedes the work of the build backend: a daemon, and a program that takes a while.
_SLOWLY = """
    import subprocess, sys, time
    if os.fork() == 0:
        os.setsid()
        os.closerange(0, 256)  # uv waits until its output is closed
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    subprocess.run([sys.executable, "-c", "import time; time.sleep(0.3)"], check=True)
"""


class Kill(NamedTuple):
    """One round."""

    number: int
    kind: str
    signal: signal.Signals
    moment: float
    """When to send the signal, as a share of the time that the command takes."""


@dataclass
class Outcome:
    """What was seen in a round."""

    kill: Kill
    code: int
    """The exit code of the killed command; zero if it had ended before."""
    problems: list[str]


class World:
    """An index, an emulated AWS, and projects that are equal except for their names. A context manager."""

    def __init__(self, root: Path, kinds: Collection[str] = tuple(COMMANDS)) -> None:
        """Create everything in *root*, and run each command of *kinds* once without killing it."""
        self.root = root
        self._kinds = kinds
        self._stack = ExitStack()
        self._golden: dict[str, tuple[float, dict[str, bytes]]] = {}

    def __enter__(self) -> Self:
        wheels, files = self.root / "wheels", self.root / "files"
        noise = random.Random(0)  # noqa: S311 - reproducible bytes that do not deflate
        for number in range(4):
            name = f"dist{number}"
            contents: dict[str, bytes | str] = {f"{name}/part{part}.bin": noise.randbytes(40_000) for part in range(6)}
            make_wheel(wheels, name, "1.0", contents | {f"{name}/__init__.py": f"VALUE = {number}\n" * 200})
        sources = source_files("pure")
        sources["backend.py"] = sources["backend.py"].replace("    stem = ", f"{_SLOWLY}    stem = ", 1)
        self._sdist = make_sdist(files, "pure", "1.0", sources)
        self._wheels = sorted(wheels.iterdir())
        self._server = self._stack.enter_context(IndexServer(wheels))
        self._sandbox = self._stack.enter_context(Sandbox(bare(Path(sys.executable))))
        for kind in self._kinds:
            place = self._place(f"golden-{kind}", kind)
            started = time.monotonic()
            done = self._start(place, kind)
            said = done.communicate(timeout=_PATIENCE_SECONDS)[1]
            assert done.returncode == 0, said
            self._golden[kind] = time.monotonic() - started, outputs(place)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def round(self, kill: Kill) -> Outcome:
        """Kill one command, run it again, and return everything that is wrong then."""
        place = self._place(f"round-{kill.number}", kill.kind)
        duration, golden = self._golden[kill.kind]
        process = self._start(place, kill.kind)
        time.sleep(duration * kill.moment)
        process.send_signal(kill.signal)
        problems: list[str] = []
        said = process.communicate(timeout=_PATIENCE_SECONDS)[1]
        if "bug in lamina" in said:
            problems.append(said)
        alive = dict(running(place))
        deadline = time.monotonic() + 10
        while alive and time.monotonic() < deadline:
            time.sleep(0.05)
            alive = dict(running(place))
        problems += [f"process {pid} is alive: {command}" for pid, command in alive.items()]
        again = self._start(place, kill.kind)
        said = again.communicate(timeout=_PATIENCE_SECONDS)[1]
        if again.returncode:
            problems.append(f"the next run ended with {again.returncode}: {said}")
        if kill.kind in {"publish", "deploy"}:
            check = self._start(place, kill.kind, "--check")
            said = check.communicate(timeout=_PATIENCE_SECONDS)[1]
            if check.returncode:
                problems.append(f"something is missing after the next run: {said}")
        if outputs(place) != golden:
            problems.append("the outputs differ")
        problems += [f"left: {path.relative_to(place)}" for path in leftovers(place)]
        if not problems:
            shutil.rmtree(place)
        return Outcome(kill=kill, code=process.returncode, problems=problems)

    def _place(self, name: str, kind: str) -> Path:
        place = self.root / name
        project = place / "project"
        project.mkdir(parents=True)
        (place / "tmp").mkdir()
        (project / "pyproject.toml").write_text(
            '[project]\nname = "service"\nversion = "1"\n[tool.lamina]\nruntime = "python3.13"\nsource = ["app.py"]\n'
            f'[tool.lamina.publish]\nlayer-name = "{name}-{{layer}}"\n[tool.lamina.deploy]\nfunction-name = "{name}-{{function}}"\n'
            'alias = "live"\n[tool.lamina.functions]\nhello = "app.lambda_handler"\n'
        )
        (project / "app.py").write_text(HANDLER)
        rows: list[dict[str, Any]] = [
            {
                "name": wheel.name.partition("-")[0],
                "version": "1.0",
                "wheels": [
                    {"name": wheel.name, "url": self._server.file_url(wheel.name), "hashes": {"sha256": sha256(wheel)}}
                ],
            }
            for wheel in self._wheels
        ]
        if kind == "source":
            sdist = {"name": self._sdist.name, "path": str(self._sdist), "hashes": {"sha256": sha256(self._sdist)}}
            rows.append({"name": "pure", "version": "1.0", "sdist": sdist})
        write_pylock(project, *rows)
        return place

    def _start(self, place: Path, kind: str, *options: str) -> subprocess.Popen[str]:
        environment: Mapping[str, str] = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            **self._sandbox.environment,
            "LAMINA_CACHE_DIR": str(place / "store"),
            "TMPDIR": str(place / "tmp"),
        }
        return subprocess.Popen(
            [sys.executable, "-c", _LAMINA, *COMMANDS[kind], *options, "--project", str(place / "project")],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )


def outputs(place: Path) -> dict[str, bytes]:
    """Return the zips of the project in *place*."""
    made = place / "project/.lamina"
    return {path.relative_to(made).as_posix(): path.read_bytes() for path in sorted(made.rglob("*.zip"))}


def leftovers(place: Path) -> list[Path]:
    """Return the temporary files and directories that are left in *place*."""
    areas = [place / "tmp", *(place / "store" / area for area in ("tmp", "locks", "partial"))]
    found = [path for area in areas if area.is_dir() for path in area.iterdir()]
    return found + [
        path for path in (place / "project/.lamina").rglob("*") if path.name.startswith((".lamina-tmp-", "lamina-"))
    ]


def running(place: Path) -> Iterator[tuple[int, str]]:
    """Yield the id and the command of each process whose arguments, environment or working directory refer to *place*."""
    wanted = os.fsencode(place)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            known = command + (entry / "environ").read_bytes() + os.fsencode(os.readlink(entry / "cwd")) + b"/"
        except OSError:
            continue
        if wanted + b"/" in known:
            yield int(entry.name), command.replace(b"\0", b" ").decode(errors="replace")[:200]


def kills(count: int, seed: int) -> list[Kill]:
    """Return *count* kills: every command with every signal, at random moments."""
    chance = random.Random(seed)  # noqa: S311 - reproducible
    pairs = [(kind, number) for number in SIGNALS for kind in COMMANDS]
    return [Kill(turn, *pairs[turn % len(pairs)], chance.random()) for turn in range(count)]


def run(world: World, chosen: list[Kill]) -> list[Outcome]:
    """Run the rounds *chosen*, a few at the same time."""
    with ThreadPoolExecutor(_PARALLEL) as pool:
        return list(pool.map(world.round, chosen))


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def main() -> int:
    """Run as many kills as the command line says, and print the outcomes."""
    parser = argparse.ArgumentParser(prog="make kills", usage="make kills [N=200] [SEED=0]")
    parser.add_argument("count", type=_count, metavar="N", help="the number of kills, at least one")
    parser.add_argument("seed", type=int, metavar="SEED", help="the seed of the random moments, a whole number")
    arguments = parser.parse_args()
    count, seed = arguments.count, arguments.seed
    with tempfile.TemporaryDirectory(prefix="kills-") as name, World(Path(os.path.realpath(name))) as world:
        found = run(world, kills(count, seed))
    for kind in COMMANDS:
        codes = Counter(each.code for each in found if each.kill.kind == kind)
        print(f"{kind}: {', '.join(f'{codes[code]} ended with {code}' for code in sorted(codes))}")  # noqa: T201
    wrong = [each for each in found if each.problems]
    for each in wrong:
        print(each)  # noqa: T201
    print(f"{count} kills, {sum(each.code != 0 for each in found)} before the end; {len(wrong)} left something wrong")  # noqa: T201
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
