"""The states of the example before and after each measured change."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.bench import remove
from lamina.aws.publish.parts import layout_parts
from lamina.core.store import Store
from lamina.core.target import quotas
from lamina.core.values import Sha256
from lamina.pipeline import report

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from benchmarks.bench import Bench
    from lamina.core.values import Build

__all__ = ["EVENTS", "Event", "States", "due_bytes", "fat_zip", "with_release"]

CURRENT, EDITED = "current", "edited"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Release:
    """One release of a distribution, with the SHA-256 of its only wheel for the example's target."""

    name: str
    version: str
    sha256: str


_OLDER = {
    release.name: release
    for release in (
        # A small wheel, which shares a part of the layer with other wheels.
        _Release(
            name="certifi",
            version="2025.8.3",
            sha256="f6c12493cfb1b06ba2ff328595af9350c65d6644968e5d3a2ffd78699af217a5",
        ),
        # A wheel large enough for its own part of the layer.
        _Release(
            name="numpy",
            version="2.5.4",
            sha256="6ffa07666f8da0eef81d149934a626d0d95fbd6838432a33e66245423a9062c0",
        ),
    )
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A change that is deployed."""

    name: str
    title: str
    before: str | None
    """The state that is already deployed; ``None`` for a first deployment."""
    after: str
    bumped: str | None = None
    """The distribution whose release changes."""

    @property
    def layer_versions(self) -> int:
        """The expected number of layer versions after the deployment."""
        return 2 if self.bumped else 1


EVENTS = (
    Event(name="first", title="first", before=None, after=CURRENT),
    Event(name="unchanged", title="nothing changed", before=CURRENT, after=CURRENT),
    *(Event(name=name, title=f"{name} bumped", before=name, after=CURRENT, bumped=name) for name in _OLDER),
    Event(name="code", title="one handler edited", before=CURRENT, after=EDITED),
)


class States:
    """Copies of the example that can be put into each state."""

    def __init__(self, bench: Bench) -> None:
        """Read the example of *bench*."""
        self._bench = bench
        self._bytecode = "reachable" if bench.interpreter else "none"
        self._lock = (bench.example / "requirements.txt").read_text("utf-8")
        self._handler = (bench.example / "service" / "handlers" / "health.py").read_text("utf-8")

    @property
    def wheels(self) -> Path:
        """The directory with the wheels of all states."""
        return self._bench.work / "deploying-wheels"

    def project(self, name: str, settings: str = "") -> Path:
        """Return a new copy of the example in the directory *name*, with *settings* appended to its configuration."""
        project = self._bench.project(name, bytecode=self._bytecode)
        with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write(settings)
        return project

    def put(self, project: Path, state: str) -> None:
        """Change the lock file and the sources of *project* to those of *state*."""
        older = _OLDER.get(state)
        lock = with_release(self._lock, older.name, older.version, older.sha256) if older else self._lock
        (project / "requirements.txt").write_text(lock, "utf-8")
        edit = "# changed\n" if state == EDITED else ""
        (project / "service" / "handlers" / "health.py").write_text(self._handler + edit, "utf-8")

    def build(self) -> dict[str, Build]:
        """Build each state. This also downloads the older wheels with the user's own settings, and warms the store."""
        builds = {}
        for state in (CURRENT, EDITED, *_OLDER):
            project = self.project(f"deploying-{state}")
            self.put(project, state)
            environment = os.environ | {"LAMINA_CACHE_DIR": str(self._bench.store)}
            argv = [sys.executable, "-m", "lamina", "build", "--quiet", "--project", str(project)]
            subprocess.run(argv, check=True, stdout=sys.stderr, env=environment)
            builds[state] = report.read(project)
        self._gather(builds.values())
        return builds

    def _gather(self, builds: Iterable[Build]) -> None:
        """Link the wheels of *builds* into `wheels`, where measured processes find them, because these use no index."""
        remove(self.wheels)
        self.wheels.mkdir()
        store = Store.open(self._bench.store)
        shares = {share.sha256: share for build in builds for layer in build.layers for share in layer.distributions}
        for sha256, share in shares.items():
            if (path := store.wheel(Sha256(sha256), share.artifact)) is not None:
                os.link(path, self.wheels / share.artifact)


def with_release(lock: str, name: str, version: str, sha256: str) -> str:
    """Return the hashed requirements *lock* with *name* at *version*. Raises `RuntimeError` if *lock* does not contain *name*."""
    text, count = re.subn(
        rf"(?m)^{re.escape(name)}==.*\\\n(?:    --hash=sha256:\w+(?: \\)?\n)+",
        f"{name}=={version} \\\\\n    --hash=sha256:{sha256}\n",
        lock,
    )
    if count != 1:
        raise RuntimeError(f"the example's lock does not have `{name}`")
    return text


def due_bytes(event: Event, build: Build) -> int:
    """
    Return how many bytes a deployment of *build* must send for *event*, according to the design.

    A first deployment sends the layer once. After an update of one distribution, lamina sends that distribution's bytes in the layer, and
    the layer's tail. Code that several functions share is sent once; other code is sent in base64 inside the API call.
    """
    packages = {package.sha256: package for package in build.packages}
    users = Counter(package.sha256 for package in build.packages)
    code = sum(
        package.zipped_bytes if users[sha256] > 1 else _base64_bytes(package.zipped_bytes)
        for sha256, package in packages.items()
    )
    if event.before is None:
        return sum(layer.zipped_bytes for layer in build.layers) + code
    if event.bumped is not None:
        cuts = [layout_parts(layer.extents, layer.zipped_bytes, quotas()) for layer in build.layers]
        changed = [each for each in cuts if any(event.bumped in part.names for part in each.parts)]
        extents = [extent for each in changed for part in each.parts for extent in part.extents]
        own = sum(extent.size for extent in extents if extent.name == event.bumped)
        return own + sum(each.tail_bytes for each in changed)
    return code if event.after == EDITED else 0


def _base64_bytes(size: int) -> int:
    return (size + 2) // 3 * 4


def fat_zip(layers: tuple[Path, ...], package: Path, path: Path) -> None:
    """Write a function's zip that includes the content of its layers to *path*, compressed with deflate."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as fat:
        for archive, prefix in (*((layer, "python/") for layer in layers), (package, "")):
            with zipfile.ZipFile(archive) as opened:
                for member in opened.infolist():
                    name = member.filename.removeprefix(prefix)
                    copied = zipfile.ZipInfo(name, member.date_time)
                    copied.external_attr, copied.compress_type = member.external_attr, zipfile.ZIP_DEFLATED
                    fat.writestr(copied, opened.read(member))
