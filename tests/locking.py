"""Create small lock files and projects for tests."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import rtoml

from lamina.core.target import Target
from lamina.core.values import Sha256
from lamina.lock.formats import find, read
from lamina.lock.select import select
from lamina.lock.types import IndexFile, Lock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

INDEX = "https://index.example/simple"
X86 = "manylinux_2_17_x86_64"
ARM = "manylinux_2_17_aarch64"
TARGET = Target.of("python3.13", "arm64")


def digest(filename: str) -> Sha256:
    """Return a SHA-256 for a file that no test reads."""
    return Sha256(hashlib.sha256(filename.encode()).hexdigest())


def filename(name: str, version: str, tag: str = "py3-none-any") -> str:
    return f"{name.replace('-', '_')}-{version}-{tag}.whl"


def package(
    name: str,
    version: str = "1.0",
    *,
    tags: Sequence[str] = ("py3-none-any",),
    needs: Sequence[str | Mapping[str, Any]] = (),
    **tables: Any,
) -> dict[str, Any]:
    """Return a package of a uv.lock, with one wheel per tag. *needs* contains dependencies, *tables* additional keys."""
    row: dict[str, Any] = {"name": name, "version": version, "source": {"registry": INDEX}}
    if needs:
        row["dependencies"] = edges(*needs)
    if tags:
        row["wheels"] = [uv_wheel(filename(name, version, tag)) for tag in tags]
    return row | {key.replace("_", "-"): value for key, value in tables.items()}


def uv_wheel(name: str) -> dict[str, Any]:
    return {"url": f"https://files.example/{name}", "hash": f"sha256:{digest(name)}", "size": len(name)}


def edges(*needs: str | Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"name": need} if isinstance(need, str) else dict(need) for need in needs]


def root(*needs: str | Mapping[str, Any], name: str = "service", **tables: Any) -> dict[str, Any]:
    """Return the project's own package in a uv.lock."""
    return package(name, "0.1.0", tags=(), needs=needs, source={"virtual": "."}, **tables)


def write_uv_lock(directory: Path, *packages: Mapping[str, Any], **top: Any) -> Path:
    document = {
        "version": 1,
        "revision": 5,
        "requires-python": ">=3.9",
        **{key.replace("_", "-"): value for key, value in top.items()},
        "package": list(packages),
    }
    return _write(directory / "uv.lock", document)


def write_pylock(directory: Path, *packages: Mapping[str, Any], name: str = "pylock.toml", **top: Any) -> Path:
    document = {
        "lock-version": "1.0",
        "created-by": "lamina-tests",
        **{key.replace("_", "-"): value for key, value in top.items()},
        "packages": list(packages),
    }
    return _write(directory / name, document)


def pylock_package(
    name: str, version: str = "1.0", *, tags: Sequence[str] = ("py3-none-any",), **tables: Any
) -> dict[str, Any]:
    wheels = [pylock_wheel(filename(name, version, tag)) for tag in tags]
    row: dict[str, Any] = {"name": name, "version": version}
    if wheels:
        row["wheels"] = wheels
    return row | {key.replace("_", "-"): value for key, value in tables.items()}


def pylock_wheel(name: str) -> dict[str, Any]:
    return {"name": name, "url": f"https://files.example/{name}", "hashes": {"sha256": digest(name)}}


def write_project(directory: Path, *dependencies: str, name: str = "service", **tables: Any) -> Path:
    """Write a pyproject.toml. Keyword arguments are keys of ``[project]``, except ``groups``, ``extras`` and ``uv``."""
    document: dict[str, Any] = {}
    groups, uv = tables.pop("groups", None), tables.pop("uv", None)
    extras = tables.pop("extras", None)
    document["project"] = {"name": name, "version": "0.1.0", "dependencies": list(dependencies), **tables}
    if extras is not None:
        document["project"]["optional-dependencies"] = extras
    if groups is not None:
        document["dependency-groups"] = groups
    if uv is not None:
        document["tool"] = {"uv": uv}
    return _write(directory / "pyproject.toml", document)


def _write(path: Path, document: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(rtoml.dumps(dict(document)), encoding="utf-8")
    return path


@dataclass
class FakeIndex:
    """An index of files with the given names, each with the hash that `digest` returns for its name."""

    filenames: Collection[str] = ()
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def files(
        self, name: str, version: str, hashes: Collection[str], index_url: str | None, *, target: Target
    ) -> Sequence[IndexFile]:
        with self.lock:
            self.asked.append((name, version, index_url))
        return [
            IndexFile(filename=file, url=f"https://files.example/{file}", sha256=digest(file), size=len(file))
            for file in self.filenames
            if digest(file) in hashes
        ]


def read_lock(
    directory: Path,
    *,
    target: Target = TARGET,
    groups: Iterable[str] = (),
    extras: Iterable[str] = (),
    without: Iterable[str] = (),
    index: FakeIndex | None = None,
    explicit: Path | None = None,
) -> Lock:
    """Find and read the lock file of the project in *directory*."""
    lock_file = find(directory, explicit)
    return read(
        lock_file,
        target=target,
        groups=frozenset(groups),
        extras=frozenset(extras),
        without=frozenset(without),
        index=index or FakeIndex(),
    )


def selected(lock: Lock, target: Target = TARGET) -> list[str]:
    """Return ``name==version`` of every pin in a selection."""
    return [f"{pin.name}=={pin.version}" for pin in select(lock, target=target).pins]
