"""
Find binaries that the loader of the target's runtime, or its Python, refuses.

======================  ========  ======================================================================================
rule                    severity  reported if
======================  ========  ======================================================================================
``wrong-architecture``  error     a binary is built for another instruction set than the target's
``extension-suffix``    error     an extension module is built for another Python, so the target's does not see it
``glibc-too-new``       error     a binary needs a newer version of a system library than the runtime has
``missing-library``     error     a binary needs a library that neither the layers nor the runtime have. A warning or a note
                                  if the runtime may have it, or if only an optional part of a wheel needs it
``damaged-binary``      error     a library is truncated, malformed or empty, or a file of your code is a placeholder of Git LFS
``foreign-binary``      warning   an extension module exists only for macOS or Windows
``executable-stack``    warning   a library asks for an executable stack, which newer loaders and kernels refuse
``rpath-outside``       warning   a library that you built searches a directory of the machine that built it
======================  ========  ======================================================================================

Wheels contain binaries on purpose that never run on Lambda: launchers for Windows, a helper for each instruction set, plugins for
optional libraries. Files that nothing loads by their name are therefore not reported.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from lamina.audit import elf
from lamina.audit.runtime_libraries import is_inside, system_of
from lamina.audit.segments import archives_of, examined, is_own, members_of, origin_of
from lamina.core.frozen import frozen
from lamina.core.target import Architecture
from lamina.core.values import Finding, Layer, Severity, is_pure
from lamina.pipeline.checks.common import listed, stacks
from lamina.pipeline.checks.origins import Origins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from lamina.audit.inspection import Inspection
    from lamina.audit.runtime_libraries import OperatingSystem
    from lamina.core.target import Target
    from lamina.core.values import Build, Distribution, Package

    _Found = Iterator[tuple[str, "_Binary"]]

# Files that no loader opens, and that are most of the files of a layer.
_NO_BINARIES = (
    ".py",
    ".pyc",
    ".pyi",
    ".json",
    ".gz",
    ".txt",
    ".md",
    ".rst",
    ".html",
    ".js",
    ".css",
    "/METADATA",
    "/RECORD",
)
# A module such as `_speedups.cpython-313-x86_64-linux-gnu.so`: Python imports it by the name before the first dot (PEP 3149). The
# suffix decides whether the interpreter sees it at all.
BINARY_MODULE = re.compile(r"(?:.*/)?[^/.]+\.(?P<tag>(?:cpython-|cp|pypy|abi3|graalpy)[^/]*)\.(?:so|pyd)")
_LIBRARY = re.compile(r".*\.so(?:\.\d+)*")
# A wheel for every platform chooses one of its binaries by such a part of the name. `crc32` and `base64` are not architectures.
_NAMES_ARCHITECTURE = re.compile(
    r"[-_.]?(?:(?<![a-z])(?:x86|x64|amd64|i[36]86|arm(?:v\d[a-z]*|hf|el|64)?|aarch(?:32|64)|ppc(?:64)?(?:le)?|powerpc|s390x?|riscv(?:32|64)?|mips|loong(?:arch)?)"
    r"(?![a-z])|(?<![a-z\d])(?:bin|elf|lib|linux|win)?(?:32|64)(?:bit)?(?![a-z\d]))",
    re.IGNORECASE,
)
MACHINES = {
    "EM_X86_64": "x86_64",
    "EM_X86_64 of 32 bits": "x32",
    "EM_AARCH64": "arm64",
    "EM_AARCH64 of 32 bits": "32-bit ARM",
    "EM_386": "i386",
    "EM_ARM": "32-bit ARM",
}
_MANYLINUX = re.compile(r".*-manylinux[^-]*\.whl")
_MUSL = re.compile(r"libc\.musl-.*|ld-musl-.*")
_LIBPYTHON = re.compile(r"libpython(\d+)\.(\d+)t?\.so\.1\.0|libpython3\.so")


_PLACEHOLDER = b"version https://git-lfs.github.com/spec/"
"""The start of the text that Git LFS has in place of a file that was not fetched (specification of Git LFS, read 2026-11)."""

_UNFETCHED = "it is a placeholder of Git LFS"


class BinaryHeaders:
    """Reads the headers of each binary; implements `lamina.audit.segments.Examination`."""

    @property
    def key(self) -> Sequence[object]:
        """What the facts depend on."""
        return ("binaries", 3, elf.version())

    def wants(self, path: str) -> bool:
        """Return whether the file *path* can be a binary."""
        return not path.endswith((*_NO_BINARIES, "/"))

    def wants_content(self, path: str, head: bytes) -> bool:
        """Return whether the file *path* that starts with *head* is a binary, or is named or stored like one."""
        return elf.kind_of(head) is not None or _PLACEHOLDER.startswith(head) or _is_library(path)

    def examine(self, path: str, content: bytes) -> dict[str, Any] | None:
        """Return the kind of the binary, with the facts of `lamina.audit.elf.read` or its damage; ``None`` for another file."""
        kind = elf.kind_of(content)
        if kind == "ELF":
            try:
                facts = elf.read(content)
            except elf.UnreadableBinaryError as unreadable:
                return {"kind": kind, "damage": str(unreadable)}
            refusal = elf.refusal(facts) if _is_library(path) else None
            return {"kind": kind, **facts} if refusal is None else {"kind": kind, "damage": refusal}
        if content.startswith(_PLACEHOLDER):
            return {"kind": "ELF", "damage": _UNFETCHED, "is_doubtful": not _is_library(path)}
        if kind is None and _is_library(path):
            damage = "it is not an ELF file" if content else "it is empty"
            return {"kind": "ELF", "damage": damage, "is_doubtful": bool(content) and not _is_linux_module(path)}
        return None if kind is None or (kind == "PE" and not elf.is_pe(content)) else {"kind": kind}


@frozen
class _Binary:
    """One binary in a layer or package."""

    path: str
    facts: Mapping[str, Any]
    share: Distribution | None
    """The distribution that the file belongs to; ``None`` for a file of the service's own code."""

    @property
    def is_elf(self) -> bool:
        return self.facts["kind"] == "ELF" and "damage" not in self.facts

    @property
    def is_published(self) -> bool:
        """Whether the file comes from a wheel, and not from the service's code or a distribution that lamina built."""
        return self.share is not None and self.share.artifact.endswith(".whl")

    @property
    def subject(self) -> str:
        """What a finding is about: all files of a distribution, but only one of the service's own, which `ignore` can name."""
        return self.path if self.share is None or is_own(self.share) else self.share.name

    @property
    def file_name(self) -> str:
        return self.path.rpartition("/")[2]


@frozen
class _BinaryPlace:
    """A layer, or the package of one or more functions."""

    subject: str
    name: str
    """The layer or function that findings are about."""
    binaries: tuple[_Binary, ...]
    libraries: tuple[frozenset[str], ...]
    """The names of the libraries in it and the layers next to it: one set for each combination of layers."""
    target: Target
    system: OperatingSystem
    archive: Layer | Package
    origins: Origins


def check(inspection: Inspection) -> Iterator[Finding]:
    """Yield the findings on the binaries in every layer and package. Raises `DamagedOutputError` for a damaged zip."""
    origins = Origins(inspection.service)
    for build in inspection.builds:
        for place in _places(build, inspection, origins):
            for rule in _RULES:
                yield from rule.check(place)
            yield from _missing(place)


def _places(build: Build, inspection: Inspection, origins: Origins) -> Iterator[_BinaryPlace]:
    found = {layer.name: _binaries(layer, inspection) for layer in build.layers}
    names = {name: _libraries(binaries) for name, binaries in found.items()}
    system = system_of(build.target)

    used = [
        tuple(layer.name for layer in stack.layers if isinstance(layer, Layer))
        for stack in stacks(build.layers, build.packages)
    ]
    for archive, subject in archives_of(build):
        own = found[archive.name] if isinstance(archive, Layer) else _binaries(archive, inspection)
        beside = [each for each in used if archive.name in each] if isinstance(archive, Layer) else [archive.layers]
        yield _BinaryPlace(
            subject=subject,
            name=archive.name,
            binaries=own,
            libraries=tuple(_libraries(own).union(*(names[name] for name in each)) for each in beside),
            target=build.target,
            system=system,
            archive=archive,
            origins=origins,
        )


def _binaries(archive: Layer | Package, inspection: Inspection) -> tuple[_Binary, ...]:
    found = examined(archive, BinaryHeaders(), inspection.store)
    shares = {member.filename: share for member, share in members_of(archive)} if found else {}
    return tuple(_Binary(path=path, facts=facts, share=shares.get(path)) for path, facts in sorted(found.items()))


def _libraries(binaries: Iterable[_Binary]) -> frozenset[str]:
    """Return the names by which the loader can find *binaries*: their file names, and their own names as libraries."""
    return frozenset(
        name for each in binaries if each.is_elf for name in (each.file_name, each.facts["soname"]) if name
    )


def _of_another_machine(place: _BinaryPlace) -> _Found:
    elves = [each for each in place.binaries if each.is_elf]
    right = {_likeness(each) for each in elves if _fits(each, place.target)}
    for each in elves:
        if (
            not _fits(each, place.target)
            and (
                BINARY_MODULE.fullmatch(each.path)
                or not (_NAMES_ARCHITECTURE.search(each.path) or (each.share is not None and _likeness(each) in right))
            )
            and not _has_sibling(each, place)
        ):
            yield MACHINES.get(each.facts["machine"], each.facts["machine"]), each


def _of_another_python(place: _BinaryPlace) -> _Found:
    for each in place.binaries:
        if (
            each.is_elf
            and _fits(each, place.target)
            and (match := BINARY_MODULE.fullmatch(each.path)) is not None
            and not is_seen(match["tag"], place.target)
            and not _has_sibling(each, place)
        ):
            yield ".".join(map(str, place.target.python)), each


def _of_newer_glibc(place: _BinaryPlace) -> _Found:
    for each in _loadable(place):
        lacking = [
            version
            for library, versions in each.facts["versions"].items()
            if not any(library in names for names in place.libraries)
            for version in versions
            if place.system.lacks(version)
        ]
        if lacking:
            version = max(lacking, key=_natural)
            yield f"`{version}`, but `{place.target.runtime}` has at most `{place.system.highest(version)}`", each


def _missing(place: _BinaryPlace) -> Iterator[Finding]:
    """Yield one finding for each distribution and severity, with all libraries that it lacks."""
    missing: dict[tuple[str, Severity], dict[str, list[_Binary]]] = {}
    for each in _loadable(place):
        for library in each.facts["needed"]:
            if not _is_there(library, place):
                key = each.subject, _certainty(library, each, place)
                missing.setdefault(key, {}).setdefault(library, []).append(each)
    for (_, severity), libraries in missing.items():
        same = list({each.path: each for found in libraries.values() for each in found}.values())
        share = same[0].share
        if any(map(_MUSL.fullmatch, libraries)):
            cure = "they are for musl; lock a manylinux wheel, which is for glibc"
        elif share is not None and _is_manylinux(share):
            cure = "lock a variant for servers if there is one, leave the files out with `exclude`, or add a layer with the libraries in `lib/`"
        else:
            cure = f"{_build_again(share, 'with the libraries in it (`auditwheel repair`)')}, or put them into `lib/` of a layer"
        fact = "do not have" if severity is Severity.ERROR else "may not have"
        message = (
            f"{_files(same)} of {_owner(share)} {'need' if len(same) > 1 else 'needs'} {listed(list(libraries))}, "
            f"which the layers and `{place.target.runtime}` {fact}; {cure}"
        )
        yield _finding("missing-library", severity, place, same, message)


def _certainty(library: str, binary: _Binary, place: _BinaryPlace) -> Severity:
    """
    Return how certain it is that *binary* cannot do without *library*.

    A manylinux wheel contains all libraries that it needs except those of every desktop, and those that optional plugins need. What all
    of its modules need is not optional.
    """
    if library in place.system.absent or _MUSL.fullmatch(library):
        return Severity.ERROR
    if library in place.system.possible:
        return Severity.WARNING
    if binary.share is None or not _is_manylinux(binary.share):
        return Severity.ERROR
    others = [each for each in _loadable(place) if each.share is not None and each.share.name == binary.share.name]
    modules = [each for each in others if BINARY_MODULE.fullmatch(each.path)] or others
    return Severity.ERROR if all(library in each.facts["needed"] for each in modules) else Severity.NOTE


def _is_manylinux(share: Distribution) -> bool:
    return _MANYLINUX.fullmatch(share.artifact) is not None


def _damaged(place: _BinaryPlace) -> _Found:
    for each in place.binaries:
        # In a distribution, such a file may be data, or a script for a linker.
        matters = is_own(each.share) if each.facts.get("is_doubtful") else _is_library(each.path)
        if "damage" in each.facts and matters:
            yield each.facts["damage"], each


def _of_another_system(place: _BinaryPlace) -> _Found:
    systems = {"Mach-O": "macOS", "PE": "Windows"}
    for each in place.binaries:
        if (
            each.facts["kind"] in systems
            # A wheel for every platform has the same module in Python, too.
            and not (each.share is not None and is_pure(each.share.artifact))
            and each.path.endswith((".pyd", ".so"))
            and not _has_sibling(each, place)
        ):
            yield systems[each.facts["kind"]], each


def _with_executable_stack(place: _BinaryPlace) -> _Found:
    for each in _loadable(place):
        if each.facts["executable_stack"] and _LIBRARY.fullmatch(each.file_name):
            yield "", each


def _with_rpath_outside(place: _BinaryPlace) -> _Found:
    for each in _loadable(place):
        outside = [path for path in each.facts["rpath"] + each.facts["runpath"] if _leads_outside(path)]
        if outside and not each.is_published:
            yield outside[0], each


class _BinaryRule(NamedTuple):
    """A rule on single binaries. Those of one distribution with the same detail are one finding."""

    name: str
    severity: Severity
    found: Callable[[_BinaryPlace], _Found]
    """Yields what is wrong with a binary, such as the machine that it is built for, and the binary."""
    fact: str
    """The template of the message: `check` fills the placeholders."""
    how: str
    """How to build the distribution instead, a template, too."""

    def check(self, place: _BinaryPlace) -> Iterator[Finding]:
        alike: dict[tuple[str, str], list[_Binary]] = {}
        for detail, binary in self.found(place):
            alike.setdefault((detail, binary.subject), []).append(binary)
        for (detail, _), same in alike.items():
            share = same[0].share
            are, them, s, es = ("are", "them", "", "") if len(same) > 1 else ("is", "it", "s", "es")
            files = f"{_files(same)} of {_owner(share)}"
            fact = self.fact.format(place=place, detail=detail, files=files, are=are, them=them, s=s, es=es)
            is_unfetched = detail == _UNFETCHED and is_own(share)
            how = self.how.format(place=place, detail=detail)
            cure = "fetch it with `git lfs pull`" if is_unfetched else _build_again(share, how)
            yield _finding(self.name, self.severity, place, same, f"{fact}; {cure}")


_RULES = (
    _BinaryRule(
        "wrong-architecture",
        Severity.ERROR,
        _of_another_machine,
        "{files} {are} built for {detail}, but the target is {place.target.architecture}",
        "for {place.target.architecture}",
    ),
    _BinaryRule(
        "extension-suffix",
        Severity.ERROR,
        _of_another_python,
        "Python {detail} cannot import {files}: the suffix of the name is for another Python or platform",
        "for CPython {detail}",
    ),
    _BinaryRule(
        "glibc-too-new",
        Severity.ERROR,
        _of_newer_glibc,
        "{files} need{s} {detail}",
        "on {place.system.name} or an older system",
    ),
    _BinaryRule("damaged-binary", Severity.ERROR, _damaged, "{files} cannot be loaded: {detail}", "again"),
    _BinaryRule(
        "foreign-binary",
        Severity.WARNING,
        _of_another_system,
        "{files} {are} built for {detail}, so Lambda cannot import {them}",
        "for Linux",
    ),
    _BinaryRule(
        "executable-stack",
        Severity.WARNING,
        _with_executable_stack,
        "{files} ask{s} for an executable stack, which glibc 2.41 and hardened kernels refuse",
        "with `-Wl,-z,noexecstack`",
    ),
    _BinaryRule(
        "rpath-outside",
        Severity.WARNING,
        _with_rpath_outside,
        "{files} search{es} `{detail}` for libraries, which does not exist on Lambda",
        "with a path that starts with `$ORIGIN`",
    ),
)


def _finding(rule: str, severity: Severity, place: _BinaryPlace, same: Sequence[_Binary], message: str) -> Finding:
    return Finding(
        rule=rule,
        severity=severity,
        path=place.name,
        file=_source_of(same, place),
        message=f"{place.subject}: {message}",
    )


def _loadable(place: _BinaryPlace) -> Iterator[_Binary]:
    """Yield the binaries that the loader of the target can load at all; `wrong-architecture` reports the others."""
    for each in place.binaries:
        match = BINARY_MODULE.fullmatch(each.path)
        if each.is_elf and _fits(each, place.target) and (match is None or is_seen(match["tag"], place.target)):
            yield each


def _fits(binary: _Binary, target: Target) -> bool:
    expected = "EM_AARCH64" if target.architecture is Architecture.ARM64 else "EM_X86_64"
    return bool(binary.facts["machine"] == expected)


def _is_there(library: str, place: _BinaryPlace) -> bool:
    system = place.system
    if library.startswith("/"):
        return not _leads_outside(library.rpartition("/")[0] or "/")
    if "/" in library or library in system.provided or all(library in names for names in place.libraries):
        return True
    if (match := _LIBPYTHON.fullmatch(library)) is not None:
        return match[1] is None or (int(match[1]), int(match[2])) == place.target.python
    return False


def is_seen(tag: str, target: Target) -> bool:
    """Return whether the target's Python imports a module with *tag* in its name (``_PyImport_DynLoadFiletab`` of CPython; 2026-11)."""
    return tag in {"abi3", f"cpython-{target.python[0]}{target.python[1]}-{target.architecture.machine}-linux-gnu"}


def _is_linux_module(path: str) -> bool:
    """Return whether Python imports the file *path* on Linux, by its name. Other files with the ending may be scripts of a linker."""
    return path.endswith(".so") and BINARY_MODULE.fullmatch(path) is not None


def _is_library(path: str) -> bool:
    return _LIBRARY.fullmatch(path.rpartition("/")[2]) is not None


def _has_sibling(binary: _Binary, place: _BinaryPlace) -> bool:
    """Return whether the directory of *binary* has the same module for the target, or for every Python in source code."""
    stem = binary.path.removesuffix(binary.file_name) + binary.file_name.partition(".")[0] + "."
    return any(
        other.path.startswith(stem)
        and other.is_elf
        and _fits(other, place.target)
        and ((match := BINARY_MODULE.fullmatch(other.path)) is None or is_seen(match["tag"], place.target))
        for other in place.binaries
    )


def _likeness(binary: _Binary) -> str:
    """Return a library's path without architectures, or else its directory: of binaries with the same, a distribution chooses one."""
    return _NAMES_ARCHITECTURE.sub("", binary.path) if _is_library(binary.path) else binary.path.rpartition("/")[0]


def _leads_outside(path: str) -> bool:
    return path.startswith("/") and not is_inside(path.rstrip("/"))


def _source_of(binaries: Sequence[_Binary], place: _BinaryPlace) -> str | None:
    """Return the origin of the first of *binaries* that comes from a file of the project, as those of the service's own code do."""
    found = (origin_of(each.path, place.archive, place.origins) for each in binaries if is_own(each.share))
    return next(filter(None, found), None)


def _files(binaries: Sequence[_Binary]) -> str:
    return listed([each.path for each in binaries])


def _owner(share: Distribution | None) -> str:
    return "your code" if share is None else f"`{share.name}` {share.version}"


def _build_again(share: Distribution | None, how: str) -> str:
    """Return the end of a message: whether to build the file, or the distribution, or to lock a wheel."""
    if share is None:
        return f"build {'the file' if how == 'again' else 'it'} {how}"
    if share.artifact.endswith(".whl"):
        return f"lock another version of `{share.name}`, or build it {how}"
    return f"build `{share.name}` {how}"


def _natural(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
