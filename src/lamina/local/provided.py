"""
Provide wheels that a function needs only when it runs locally: the AWS SDK of Lambda's runtime, and the debugger.

``data/local_wheels.toml`` records each wheel with its SHA-256. lamina downloads a wheel from the project's package index when a function
first needs it, and keeps it in the store. A function needs the SDK if its code or layers import a module that only the SDK contains.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache
from typing import TYPE_CHECKING

from lamina.core.errors import ConfigError, FetchError, IndexLookupError, OfflineError
from lamina.core.files import replace_file
from lamina.core.frozen import frozen, replace
from lamina.core.reporter import SILENT
from lamina.core.store import Store
from lamina.core.target import runtime_of
from lamina.core.text import megabytes
from lamina.core.toml import read_data
from lamina.core.values import Pin, Sha256
from lamina.fetch.index import PackageIndex
from lamina.fetch.provider import fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from lamina.core.reporter import Reporter
    from lamina.core.target import Target
    from lamina.core.values import Wheel

# Matches the module after `from`, the list after `import`, or the literal name in a call of `import_module`. A statement starts a line,
# or follows another one.
_IMPORT = re.compile(
    rb"(?m)(?:^|[;:])[ \t]*(?:from[ \t]+(\w+)[\w.]*[ \t]+import\b|import[ \t]+([\w., \t]+))|\bimport_module\(\s*[\"'](\w+)"
)


@frozen
class ProvidedWheel:
    """A wheel that lamina can provide, and the module that it contains."""

    pin: Pin
    """The file's name and SHA-256. The URL is missing, because the package index supplies it."""
    module: str


@frozen
class ImportedModules:
    """The modules of the SDK that one directory of code contains, and those that it imports."""

    contained: frozenset[str]
    imported: frozenset[str]


class LocalWheels:
    """Provides the SDK and the debugger to one project's functions."""

    def __init__(
        self,
        project: Path,
        *,
        store: Store | None = None,
        offline: bool = False,
        reporter: Reporter = SILENT,
        recorded: Callable[[Target], Sequence[ProvidedWheel]] | None = None,
    ) -> None:
        """
        Use the index settings of *project*. If *offline*, use only wheels in *store* (default: `Store.open`).

        *recorded* returns the wheels of a target's SDK (default: `sdk_wheels`).
        """
        self._recorded = recorded or sdk_wheels
        self._store = Store.open() if store is None else store
        self._index = PackageIndex(project, self._store, offline=offline, reporter=reporter)
        self._reporter = reporter

    def sdk(self, target: Target, trees: Sequence[Path], code: Sequence[bytes] = ()) -> tuple[Wheel, ...]:
        """
        Return the wheels of the runtime's SDK, if code in *trees* or *code* imports one of its modules and *trees* do not contain it.

        Return nothing if no version of the SDK is recorded for the runtime. If the wheels cannot be downloaded, report the reason and
        return nothing: the function can run if it does not use the SDK.
        """
        wheels = self._recorded(target)
        modules = frozenset(wheel.module for wheel in wheels)
        found = [imported_modules(tree, modules, target) for tree in trees]
        imported = frozenset(name.decode() for source in code for name in _imports(source)) & modules
        imported = imported.union(*(each.imported for each in found))
        if not imported.difference(*(each.contained for each in found)):
            return ()
        purpose = f"the AWS SDK of Lambda's runtime `{target.runtime}`"
        try:
            return self._provide(wheels, purpose, target)
        except (FetchError, ConfigError) as error:
            self._reporter.note(f"running without {purpose}: {error}")
            return ()

    def debugger(self, target: Target) -> tuple[Wheel, ...]:
        """Return the wheel of the debugger. Raises `ConfigError` if it does not support *target*, and `FetchError` if a download fails."""
        row = _data()["debugger"]
        oldest = tuple(row["oldest_python"])
        if target.python < oldest:
            raise ConfigError(
                f"the debugger does not support runtime `{target.runtime}`: it needs Python {oldest[0]}.{oldest[1]}",
                hint="use a newer runtime, or debug a test of the handler",
            )
        return self._provide([_wheel(row)], "the debugger", target)

    def _provide(self, wheels: Sequence[ProvidedWheel], purpose: str, target: Target) -> tuple[Wheel, ...]:
        """Return *wheels* from the store, after downloading those that it lacks."""
        pins = [wheel.pin for wheel in wheels]
        missing = [pin for pin in pins if self._store.wheel(pin.sha256, pin.filename) is None]
        if missing and self._index.offline:
            raise OfflineError(
                f"`{missing[0].filename}` is not in the store, and `--offline` prevents the download",
                hint="run the command once without `--offline`",
            )
        if missing:
            first, size = pins[0], megabytes(sum(pin.size or 0 for pin in missing))
            self._reporter.note(f"downloading {purpose} into the store ({first.name} {first.version}, {size})")
        with self._store.in_use(self._reporter):
            located = [self._located(pin, target) if pin in missing else pin for pin in pins]
            return fetch(located, self._store, index=self._index, reporter=self._reporter)

    def _located(self, pin: Pin, target: Target) -> Pin:
        found = self._index.files(pin.name, pin.version, [pin.sha256], None, target=target)
        if not found:
            raise IndexLookupError(
                f"the package index does not list `{pin.filename}` with the SHA-256 {pin.sha256}",
                hint="add an index that mirrors PyPI to the settings of uv or pip",
            )
        return replace(pin, url=found[0].url)


def sdk_wheels(target: Target) -> tuple[ProvidedWheel, ...]:
    """Return the wheels of the SDK that *target*'s runtime contains, boto3 first; empty if no version is recorded."""
    runtime = runtime_of(target)
    version = next((entry.version for entry in runtime.preinstalled if entry.name == "boto3"), None)
    return tuple(_wheel(row) for row in _data()["sdk"] if version in row["boto3"])


def sdk_modules() -> dict[str, str]:
    """Return the name of each module of the SDK, with the name of its distribution."""
    return {row["module"]: row["name"] for row in _data()["sdk"]}


def imported_modules(tree: Path, modules: frozenset[str], target: Target) -> ImportedModules:
    """
    Return which of *modules* the unpacked layers or package at *tree* contain at the top of the search path, and which they import.

    The files are searched for import statements, which takes a moment, so the result is kept beside *tree*, whose content never changes.
    """
    kept = tree.parent / f"{tree.name}.imports"
    names = sorted(modules)
    try:
        document = json.loads(kept.read_bytes())
        if document["modules"] == names:
            return ImportedModules(contained=frozenset(document["contained"]), imported=frozenset(document["imported"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not searched yet, or by another version of lamina
    found = ImportedModules(contained=_contained(tree, modules, target), imported=_imported(tree, modules))
    document = {"modules": names, "contained": sorted(found.contained), "imported": sorted(found.imported)}
    replace_file(kept, json.dumps(document).encode())
    return found


def _contained(tree: Path, modules: Iterable[str], target: Target) -> frozenset[str]:
    site = f"python/lib/python{target.python[0]}.{target.python[1]}/site-packages"
    roots = (tree, tree / "python", tree / site)
    return frozenset(
        name for name in modules for root in roots if (root / name).is_dir() or (root / f"{name}.py").is_file()
    )


def _imported(tree: Path, modules: Iterable[str]) -> frozenset[str]:
    wanted = {name.encode() for name in modules}
    found: set[bytes] = set()
    for directory, _, names in os.walk(tree):
        for name in names:
            if name.endswith(".py"):
                with open(os.path.join(directory, name), "rb") as file:
                    content = file.read()
                if any(name in content for name in wanted - found):
                    found |= wanted & set(_imports(content))
    return frozenset(name.decode() for name in found)


def _imports(content: bytes) -> Iterator[bytes]:
    """Yield the outermost package or module of each import in the Python source *content*; relative imports are left out."""
    for origin, listed, dynamic in _IMPORT.findall(content):
        yield origin or dynamic
        yield from (re.split(rb"[.\s]", entry.strip(), maxsplit=1)[0] for entry in listed.split(b","))


@cache
def _data() -> dict[str, Any]:
    return read_data("local_wheels.toml")


def _wheel(row: dict[str, Any]) -> ProvidedWheel:
    fields = {key: row[key] for key in ("name", "version", "filename", "size")}
    return ProvidedWheel(pin=Pin(**fields, sha256=Sha256(row["sha256"])), module=row["module"])
