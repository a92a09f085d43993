"""
Word how to provide a module that a handler imports and that nothing provides.

The cure is one of: move or include a file of the project, select what the lock file already has, or add a dependency.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path, PurePath
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from lamina.core import toml
from lamina.core.names import normalized
from lamina.lock import formats
from lamina.lock.offers import offers
from lamina.pipeline.checks import sdk
from lamina.pipeline.checks.modules import requirements_of
from lamina.pipeline.checks.stdlib import last_version
from lamina.project.ignore import rule_for
from lamina.project.repository import find_repository
from lamina.project.sources import walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lamina.bytecode.imports.missing import Miss
    from lamina.lock.offers import Offer
    from lamina.pipeline.layers import LayerDraft
    from lamina.project.service import PackageConfig, Service
    from lamina.project.sources import SourceTree

# A search through a larger repository would take longer than the build.
_MOST_DIRECTORIES = 2_000
_ADD = {
    "uv.lock": "run `uv add {name}`",
    "poetry.lock": "run `poetry add {name}`",
    "pdm.lock": "run `pdm add {name}`",
    "Pipfile.lock": "run `pipenv install {name}`",
}


class ImportCures:
    """Finds the cures for the missing imports of one function package."""

    def __init__(
        self,
        service: Service,
        config: PackageConfig,
        plans: Sequence[LayerDraft],
        tree: SourceTree | None,
        bundle: LayerDraft | None = None,
    ) -> None:
        """
        Use *tree*, the sources of the package *config*, or read them if it is ``None``.

        *plans* are those of all layers, and *bundle* has the distributions in the package.
        """
        self._bundle = bundle
        self._service = service
        self._config = config
        self._plans = plans
        self._given = tree

    def cure(self, miss: Miss, layers: Sequence[str], *, is_own: bool) -> str:
        """
        Return what to do about *miss* in functions with *layers*, as an imperative clause. *is_own* tells whether the package has
        the module's parent.

        Raises the errors of reading the sources, and those of `lamina.lock.formats.read`.
        """
        python, top = self._service.target.python, miss.module.partition(".")[0]
        until = last_version(top)
        if until is not None and until < python:
            return (
                f"Python {until[0]}.{until[1]} was the last version with `{top}`; add a replacement to the dependencies"
            )
        found = self._left_out(miss.module) or (
            None if miss.statement is None else self._left_out(miss.statement.module)
        )
        if found is None and is_own:
            package, _, name = miss.module.rpartition(".")
            return f"the package `{package}` has no module `{name}` and does not define that name"
        # A directory of a project with the name of a known distribution is more often a copy of it, or has its tests.
        name = _full_name(miss)
        elsewhere = None if requirements_of(name) else self._elsewhere(top)
        return found or elsewhere or self._locked(name, layers) or self._not_locked(name)

    def _left_out(self, module: str) -> str | None:
        """Return how to include a file or directory of *module*, if an ignore rule leaves it out of the package."""
        path = module.replace(".", "/")
        ends = tuple(f"/{end}" for end in (f"{path}.py", f"{path}/__init__.py", f"{path}/"))
        found = next((each for each in self._tree.ignored if f"/{each.path}".endswith(ends)), None)
        if found is None:
            return None
        fact = f"`{found.path}` is left out of the package: {found.reason}"
        entry = found.path.strip("/")
        rule = rule_for(entry.rpartition("/")[2], is_directory=found.path.endswith("/"))
        if rule is not None and rule.override in {"never", "file"}:
            return f"{fact}; rename it"
        return f"{fact}; to package it, set `include = {toml.value((*self._service.include, entry))}`"

    def _elsewhere(self, top: str) -> str | None:
        """Return how to package the top-level module *top*, if the project or its repository has it in another directory."""
        root = self._service.root
        found = _place(root, self._directories, top)
        if found is not None:
            source = toml.value((*self._config.source, found))
            fact = f"the module is `{found}` in the project: to package it as `{top}`, set `source = {source}`"
            return None if found in self._config.source else fact
        repository = find_repository(root)
        if repository is None or os.path.samefile(repository.root, root):
            return None
        outside = _place(Path(repository.root), _directories(Path(repository.root)), top)
        return outside and (
            f"the module is `{outside}` in the repository, outside the project: lock its project as a local package, or "
            "configure lamina in a directory that contains both"
        )

    @cached_property
    def _directories(self) -> list[_Directory]:
        return _directories(self._service.root)

    def _locked(self, module: str, layers: Sequence[str]) -> str | None:
        """Return how to select the distribution of *module*, if it is locked but not in one of *layers*."""
        known = [requirement.partition("<")[0] for requirement in requirements_of(module)]
        names = set(known or [normalized(module.partition(".")[0])])
        if (holder := self._held(names, layers)) is not None:
            return holder
        if names & sdk.left_out(self._service):
            return 'the layers leave it out, and the runtime does not contain it: set `sdk = "bundle"`'
        if (layer := self._unselected(names, layers)) is not None:
            return layer
        by_kind: dict[str, list[Offer]] = {}
        for offer in self._offers:
            if names & offer.distributions:
                by_kind.setdefault(offer.kind, []).append(offer)
        for kind, found in by_kind.items():
            name = min(names.intersection(*(offer.distributions for offer in found)) or names & found[0].distributions)
            listed = ", ".join(f"`{offer.name}`" for offer in found)
            noun = "group" if kind == "groups" else "extra"
            noun += "s" if len(found) > 1 else ""
            chosen = toml.value((*getattr(self._service, kind), found[0].name))
            return f"`{name}` is locked only for the {noun} {listed}: {self._add(name)}, or set `{kind} = {chosen}`"
        return None

    def _unselected(self, names: set[str], layers: Sequence[str]) -> str | None:
        """Return how to select one of the distributions *names*, if a configured layer leaves it out."""
        used = {*layers, *self._config.bundled}
        left_out = {plan.name: plan.selection.left_out for plan in self._plans}
        for layer in self._service.selected:
            if without := names & set(layer.without):
                return f"layer `{layer.name}` leaves out `{min(without)}`: remove it from `without`"
            known = left_out.get(layer.name, ()) if self._bundle is None else self._bundle.selection.left_out
            if layer.name in used and layer.only is not None and (absent := names.intersection(known)):
                return f"layer `{layer.name}` leaves out `{min(absent)}`: add it to `only`"
        return None

    def _held(self, names: set[str], layers: Sequence[str]) -> str | None:
        """Return which layer or zip has one of the distributions *names*, and what to do about it."""
        for plan in self._plans if self._bundle is None else (self._bundle, *self._plans):
            held = names & {pin.name for pin in plan.selection.pins}
            if held and plan.name not in layers and not plan.is_bundle:
                return f"`{min(held)}` is in layer `{plan.name}`: add it to the function's `layers`"
            if held:
                return (
                    f"{plan.shown} contains `{min(held)}`, but not this module; check `exclude` and the locked version"
                )
        return None

    def _not_locked(self, module: str) -> str:
        known = requirements_of(module)
        if known:
            return self._add(known[0])
        top = module.partition(".")[0]
        return (
            f"add the distribution that provides `{top}` to the dependencies, or list it in `provided` if Lambda has it"
        )

    def _add(self, name: str) -> str:
        kind = formats.find(self._service.root, self._service.lock).kind
        return _ADD.get(kind, "add `{name}` to the dependencies and lock again").format(name=quote(name))

    @cached_property
    def _tree(self) -> SourceTree:
        return self._given or walk(self._service.root, self._config.source, self._service.include)

    @cached_property
    def _offers(self) -> tuple[Offer, ...]:
        lock_file = formats.find(self._service.root, self._service.lock)
        return tuple(offers(lock_file, self._service.target))


def _full_name(miss: Miss) -> str:
    """Return the whole name that the import of *miss* asks for, because distributions share the first parts of a namespace."""
    each = miss.statement
    if each is None or each.level or not f"{each.module}.".startswith(f"{miss.module}."):
        return miss.module
    return ".".join((each.module, *each.names[:1]))


class _Directory(NamedTuple):
    """A directory below a root, with the names of its directories and files."""

    path: PurePath
    """The path relative to the root."""
    directories: Sequence[str]
    files: Sequence[str]


def _directories(root: Path) -> list[_Directory]:
    """Return the directories at and below *root*, at most `_MOST_DIRECTORIES`, without those that are never packaged."""
    found: list[_Directory] = []
    for directory, directories, files in os.walk(root):
        if len(found) >= _MOST_DIRECTORIES:
            break
        here = PurePath(directory).relative_to(root)
        directories[:] = sorted(
            name
            for name in directories
            if rule_for(name, is_directory=True) is None and not (root / here / name / "pyvenv.cfg").exists()
        )
        found.append(_Directory(here, directories, files))
    return found


def _place(root: Path, found: Iterable[_Directory], top: str) -> str | None:
    """Return the shortest path, relative to *root*, of a file or directory among *found* that could be the module *top*."""
    places = [(each.path / f"{top}.py").as_posix() for each in found if f"{top}.py" in each.files]
    places += [
        (each.path / top).as_posix()
        for each in found
        if top in each.directories and any((root / each.path / top).glob("*.py"))
    ]
    return min(places, key=lambda path: (path.count("/"), path), default=None)
