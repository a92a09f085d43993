"""
Collect the first-party files of a function package, and the files that are left out, each with a reason.

A path in the package is relative to the parent directory of its ``source`` entry. The files in ``src/service/`` are
therefore imported as ``service``:

========================  ==============================================================================
``service``               ``service/…``
``src/service``           ``service/…``
``src/*``                 everything in ``src``, relative to ``src``: ``service/…``
``src/**/*.py``           every match, relative to the directory before the ``**``
``.``                     everything in the project, except files that describe it (``pyproject.toml``)
========================  ==============================================================================

Names are normalised to NFC, because file systems differ. Symbolic links inside the project are followed. Other symbolic
links are rejected.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.errors import PackageError, UnsafeMemberError
from lamina.core.frozen import frozen, replace
from lamina.core.paths import check_path, clashes
from lamina.project.ignore import GitIgnore, Glob, IgnoredFile, Include, guard_of, rule_for, strictest
from lamina.project.links import link_target
from lamina.project.snapshot import Observation, Snapshot, observe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lamina.project.ignore import IgnoreRule
    from lamina.project.service import PackageConfig


@frozen
class SourceFile:
    """One first-party file of a package."""

    path: str
    """The path in the package, with ``/`` and in NFC."""
    origin: Path
    """The path of the file on disk."""
    sha256: str
    """The SHA-256 of the file's content when the tree was walked."""

    def read(self) -> bytes:
        """Return the file's content. Raises `PackageError` if the file changed since the tree was walked."""
        content = self.origin.read_bytes()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise PackageError(f"`{self.path}` changed during the build", hint="run `lamina build` again")
        return content


@frozen
class SourceTree:
    """All first-party files of a package, sorted by path, and the files that were left out."""

    files: tuple[SourceFile, ...]
    ignored: tuple[IgnoredFile, ...]
    named: tuple[IgnoredFile, ...] = ()
    """The paths that are packaged only because ``source`` or ``include`` names them exactly, with the reason against it."""
    unmet: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """The entries of ``include`` that match only paths which are left out as possible secrets, each with these paths."""
    snapshot: Snapshot
    """All files, directories and ignore files that the walk read. If none of them changes, the tree does not change."""

    @cached_property
    def python_digest(self) -> str:
        """The `fingerprint` of the Python sources."""
        return fingerprint((file.path, file.sha256) for file in self.files if file.path.endswith(".py"))


@frozen
class PackageSources:
    """The first-party files of one function package."""

    config: PackageConfig
    tree: SourceTree


def fingerprint(files: Iterable[tuple[str, str]]) -> str:
    """
    Return the SHA-256 of *files*, pairs of a path and the SHA-256 of its content, in any order.

    File modes are not included, because lamina derives them from the content.
    """
    digest = hashlib.sha256()
    for path, sha256 in sorted(files):
        digest.update(f"{path}\0{sha256}\n".encode())
    return digest.hexdigest()


def walk(root: Path, source: Sequence[str], include: Sequence[str] = ()) -> SourceTree:
    """
    Return the files of the *source* entries of the project at *root*.

    *include* lists paths and globs that override ignore rules.
    Raises `PackageError` with all paths that cannot be packaged: broken symbolic links, links out of the project or to a
    parent directory, names that are not UTF-8 or are unsafe, and conflicting paths. Raises it also for unreadable files.
    """
    walker = _Walker(Path(os.path.abspath(root)), Include(include))
    try:
        for entry in source:
            walker.entry(entry)
    except OSError as error:
        from lamina.core.faults import exhausted

        raise exhausted(error) or PackageError(f"could not read `{error.filename}`: {error.strerror}") from error
    return walker.finish()


@frozen
class _Candidate:
    """A path that may be added to the package."""

    path: Path
    shown: str
    """The path relative to the project, with ``/``."""
    target: str
    """The path in the package, before normalisation."""
    above: tuple[str, ...] = ()
    """The real paths of the parent directories that the walk came through."""
    only_included: bool = False
    """Whether a parent directory is left out, so that only ``include`` can add the path."""
    floor: Path | None = None
    """The top directory where ``.gitignore`` files apply, or ``None`` for the repository's root."""
    guard: IgnoreRule | None = None
    """The rule of a parent directory that globs cannot override. It applies to all paths below the directory."""


class _Walker:
    def __init__(self, root: Path, include: Include) -> None:
        self._root = root
        self._real_root = os.path.realpath(root)
        self._include = include
        self._ignore = GitIgnore(root)
        self._files: dict[str, SourceFile] = {}
        self._ignored: dict[str, IgnoredFile] = {}
        self._named: dict[str, IgnoredFile] = {}
        self._whole: set[str] = set()
        self._unmet: dict[str, list[str]] = {}
        self._observed: dict[str, Observation] = {}
        self._problems: list[str] = []

    def entry(self, entry: str) -> None:
        """Add the files of one `source` entry. An entry without wildcards overrides the ignore rules for its own path."""
        if entry.strip("/") in {"", "."}:
            self._list(_Candidate(path=self._root, shown="", target=""))
            return
        glob = Glob(entry)
        path = self._root.joinpath(*glob.outright)
        # Resolve links in parent directories too: a path through a link out of the project is outside the project.
        if not self._is_inside(os.path.realpath(path)):
            self._problems.append(f"`{'/'.join(glob.outright)}` leads out of the project through a symbolic link")
            return
        is_directory = path.is_dir()
        is_matched = path != self._root and self._ignore.matching(path, is_directory=is_directory)
        floor = path if is_matched else None
        if len(glob.outright) == len(glob.parts):
            self._whole.add("/".join(glob.parts))
            self._take(self._place(path, path.parent, floor=floor, guard=guard_of(glob.parts[:-1])), named=True)
        elif is_directory:
            self._search(path, glob, floor, guard_of(glob.outright))

    def _search(self, directory: Path, glob: Glob, floor: Path | None, guard: IgnoreRule | None) -> None:
        """
        Add all paths below *directory* that match *glob*, except in directories that are left out.

        *guard* is the rule that globs cannot override, if *directory* is in a directory that such a rule leaves out.
        """
        self._observe(directory)
        for path in sorted(directory.iterdir()):
            parts = path.relative_to(self._root).parts
            base = glob.base(parts)
            # A final `**` also matches the directory itself, which is the root of the package and not a member.
            if glob.matches(parts) and base != parts:
                self._take(self._place(path, self._root.joinpath(*base), floor=floor, guard=guard), named=False)
            elif glob.leads_through(parts) and path.is_dir() and not path.is_symlink():
                place = self._place(path, path.parent, floor=floor, guard=guard)
                rule = self._rule(place, is_directory=True)
                if (ignored := self._ignored_as(place, rule, is_directory=True)) is None:
                    self._search(path, glob, floor, guard)
                else:
                    self._leave_out(ignored)

    def finish(self) -> SourceTree:
        """Return the tree. Raises `PackageError` with all problems if there are any."""
        self._problems += [
            f"`{clash.path.decode()}` is both a file and a directory in the package"
            for clash in clashes(path.encode() for path in self._files)
        ]
        if self._problems:
            listed = f" {self._problems[0]}" if len(self._problems) == 1 else "\n  ".join(("", *self._problems))
            raise PackageError(
                f"could not package the sources:{listed}",
                hint="copy these files into the project, rename them, or add them to `.gitignore`",
            )
        if self._unmet:
            packaged = {file.origin.relative_to(self._root).as_posix() for file in self._files.values()}
            met = {entry for path in packaged for entry in self._include.covering(path)}
            self._unmet = {entry: paths for entry, paths in self._unmet.items() if entry not in met}
        return SourceTree(
            files=tuple(self._files[path] for path in sorted(self._files)),
            # An entry of `source` that names a path exactly adds it, although another entry leaves it out.
            ignored=tuple(
                self._ignored[path] for path in sorted(self._ignored) if path.removesuffix("/") not in self._whole
            ),
            unmet=tuple((entry, tuple(sorted(paths))) for entry, paths in sorted(self._unmet.items())),
            named=tuple(self._named[path] for path in sorted(self._named)),
            snapshot=Snapshot(observations=(*self._observed.values(), *self._ignore.consulted)),
        )

    def _place(
        self, path: Path, base: Path, *, floor: Path | None = None, guard: IgnoreRule | None = None
    ) -> _Candidate:
        shown = path.relative_to(self._root).as_posix()
        return _Candidate(path=path, shown=shown, target=path.relative_to(base).as_posix(), floor=floor, guard=guard)

    def _is_inside(self, real: str) -> bool:
        return os.path.commonpath((self._real_root, real)) == self._real_root

    def _observe(self, path: Path) -> Observation:
        observation = observe(self._root, path)
        self._observed[observation.path] = observation
        return observation

    def _list(self, place: _Candidate) -> None:
        """Add the contents of the directory *place*."""
        self._observe(place.path)
        above = (*place.above, os.path.realpath(place.path))
        with os.scandir(place.path) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            child = replace(
                place,
                path=place.path / name,
                shown=f"{place.shown}/{name}" if place.shown else name,
                target=f"{place.target}/{name}" if place.target else name,
                above=above,
            )
            self._take(child, named=False)

    def _take(self, place: _Candidate, *, named: bool) -> None:
        """Add *place* and its contents, or record why it is left out. With *named*, no ignore rule leaves out *place* itself."""
        is_directory = place.path.is_dir()
        rule = self._rule(place, is_directory=is_directory)
        guard = rule if rule is not None and rule.is_guard else None
        ignored = None if named else self._ignored_as(place, rule, is_directory=is_directory)
        if ignored is not None:
            if is_directory and self._include.leads_through(place.shown, guard) and not place.path.is_symlink():
                self._list(replace(place, only_included=True, guard=guard))
            if not place.only_included:
                self._leave_out(ignored)
            return
        if place.path.is_symlink() and not self._may_follow(place):
            return
        if guard is not None and (guard.is_secret or not is_directory):
            self._named[place.shown] = IgnoredFile(path=_shown(place, is_directory=is_directory), reason=guard.reason)
        if is_directory:
            # Anyone who names a directory of secrets means its files. The name of a repository does not include its files.
            self._list(replace(place, guard=None if guard is None or guard.is_secret else guard))
        elif place.path.is_file():
            self._add(place)
        else:
            self._leave_out(IgnoredFile(path=place.shown, reason="not a regular file"))

    def _leave_out(self, ignored: IgnoredFile) -> None:
        self._ignored[ignored.path] = ignored

    def _ignored_as(self, place: _Candidate, rule: IgnoreRule | None, *, is_directory: bool) -> IgnoredFile | None:
        """Return *place*, to which *rule* applies, with the reason why it is left out, or ``None`` if it is packaged."""
        if self._include.overrides(rule, place.shown, is_directory=is_directory):
            return None
        path = _shown(place, is_directory=is_directory)
        if rule is not None and rule.is_secret:
            for entry in self._include.covering(place.shown):
                self._unmet.setdefault(entry, []).append(path)
            by_git = self._ignore.ignoring(place.path, is_directory=is_directory, floor=place.floor)
            return IgnoredFile(
                path=path, reason=f"{rule.reason}; if not, add its path to `include`", is_noted=by_git is None
            )
        if rule is not None:
            return IgnoredFile(path=path, reason=rule.reason)
        if place.only_included:
            return IgnoredFile(path=path, reason="not included")
        reason = self._ignore.ignoring(place.path, is_directory=is_directory, floor=place.floor)
        return None if reason is None else IgnoredFile(path=path, reason=reason)

    def _rule(self, place: _Candidate, *, is_directory: bool) -> IgnoreRule | None:
        """Return the strictest rule for *place*: for its name, or for a directory that contains it."""
        # With the entry `.`, the project's own files are beside the sources.
        in_root = place.shown == place.target == place.path.name
        above = tuple(place.shown.split("/")[:-1])
        rule = rule_for(place.path.name, is_directory=is_directory, in_project_root=in_root, above=above)
        if rule is None and is_directory and (place.path / "pyvenv.cfg").is_file():
            rule = rule_for(".venv", is_directory=True)
        return rule if place.guard is None else strictest(rule, place.guard)

    def _may_follow(self, place: _Candidate) -> bool:
        """Return whether to follow the symbolic link *place*. If not, record a problem or why it is left out."""
        target = link_target(place.path, (self._real_root,), place.above)
        if target.problem is not None:
            self._problems.append(f"`{place.shown}` {target.problem}")
            return False
        if target.rule is None:
            return True
        if self._include.overrides(target.rule, place.shown, is_directory=place.path.is_dir()):
            self._named[place.shown] = IgnoredFile(path=place.shown, reason=target.rule.reason)
            return True
        reason = f"symbolic link to `{target.path}`: {target.rule.reason}"
        is_noted = target.rule.is_secret and not place.only_included
        self._leave_out(IgnoredFile(path=place.shown, reason=reason, is_noted=is_noted))
        return False

    def _add(self, place: _Candidate) -> None:
        path = place.target if place.target.isascii() else unicodedata.normalize("NFC", place.target)
        try:
            path.encode("utf-8")
            check_path(path)
        except UnicodeEncodeError:
            self._problems.append(f"the name `{place.shown!r}` is not valid UTF-8")
            return
        except UnsafeMemberError as error:
            self._problems.append(str(error))
            return
        observation = self._observe(place.path)
        file = SourceFile(path=path, origin=place.path, sha256=observation.content)
        other = self._files.setdefault(path, file)
        if other.origin != file.origin and not other.origin.samefile(file.origin):
            self._problems.append(
                f"`{other.origin.relative_to(self._root).as_posix()}` and `{place.shown}` are different files "
                f"with the same path in the package, `{path}`"
            )


def _shown(place: _Candidate, *, is_directory: bool) -> str:
    return f"{place.shown}/" if is_directory else place.shown
