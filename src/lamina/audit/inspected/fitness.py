"""Judge whether the binaries and the bytecode of a zip work in given runtimes."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from lamina.audit.families.binaries import BINARY_MODULE, MACHINES, is_seen
from lamina.audit.inspected.shadowing import search_rank
from lamina.audit.inventory.contents import tag_of
from lamina.audit.runtime_libraries import system_of
from lamina.bytecode.interpreter import python_of_magic
from lamina.core.frozen import frozen
from lamina.core.paths import PREFIX
from lamina.core.target import Architecture
from lamina.core.text import count
from lamina.pipeline.checks.common import listed

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from lamina.audit.inspected.files import BytecodeFile, ExaminedFiles
    from lamina.audit.inventory.contents import ArchiveContents
    from lamina.core.target import Target

_GLIBC = re.compile(r"GLIBC_(\d+(?:\.\d+)+)")
_TAG = re.compile(r"cpython-(\d)(\d+)")
_METADATA = re.compile(r"(|.*/)[^/]+\.dist-info/METADATA")
_UNKNOWN = "an unknown Python"


@frozen
class BytecodeCount:
    """How many files of bytecode are alike."""

    python: str
    """The minor version of Python that wrote them, such as ``3.13``; empty if it is not known."""
    kind: str
    """As in `lamina.audit.inspected.files.BytecodeFile`."""
    files: int


@frozen
class Fitness:
    """What runs the binaries and the bytecode of a zip, and why some of them do not run in the targets."""

    machines: Mapping[str, int]
    """The number of ELF files by architecture."""
    glibc: str | None
    """The newest version of glibc that a binary needs, such as ``2.34``; ``None`` if none needs a version."""
    bytecode: tuple[BytecodeCount, ...]
    problems: tuple[str, ...]
    """What does not work in a target, or wastes time there, as sentences without a full stop."""


def judge(files: ExaminedFiles, contents: ArchiveContents, targets: Sequence[Target]) -> Fitness:
    """Return the fitness of *files*, those of a zip with *contents*, for *targets*; without targets, only what works nowhere is a problem."""
    machines = Counter(
        MACHINES.get(facts["machine"], facts["machine"]) for facts in files.binaries.values() if "machine" in facts
    )
    versions = [
        tuple(map(int, found[1].split(".")))
        for facts in files.binaries.values()
        for names in facts.get("versions", {}).values()
        for name in names
        if (found := _GLIBC.fullmatch(name)) is not None
    ]
    counts = Counter((python_of_magic(each.magic) or "", each.kind) for each in files.bytecode)
    paths = contents.paths
    problems = [
        problem
        for target in targets
        for problem in (*_not_imported(contents, target), *_in_target(files, paths, target))
    ]
    return Fitness(
        machines=dict(sorted(machines.items())),
        glibc=".".join(map(str, max(versions))) if versions else None,
        bytecode=tuple(
            BytecodeCount(python=python, kind=kind, files=number)
            for (python, kind), number in sorted(counts.items(), key=lambda item: _natural(item[0]))
        ),
        problems=tuple(dict.fromkeys((*_damaged(files), *problems))),
    )


def _natural(key: tuple[str, str]) -> tuple[list[int], str]:
    return [int(number) for number in key[0].split(".") if number], key[1]


def _not_imported(contents: ArchiveContents, target: Target) -> Iterator[str]:
    modules: dict[str, set[str]] = {}
    for root, module in (
        *contents.modules,
        *((each.root, name) for each in contents.distributions for name in each.modules),
    ):
        modules.setdefault(root, set()).add(module)
    searched = {root for root in modules if search_rank(root, target.python, is_layer=contents.is_layer) is not None}
    available = {module for root in searched for module in modules[root]}
    # A layer for several versions of Python has the same modules for each.
    ignored = {root for root in modules.keys() - searched if not modules[root] <= available}
    if contents.is_layer and not contents.extensions:
        # The program of an extension can import from any directory.
        found = (_METADATA.fullmatch(path) for path in contents.paths if not path.startswith(PREFIX))
        ignored |= {each[1] for each in found if each is not None}
    if ignored:
        site = f"/opt/{PREFIX}lib/python{target.python[0]}.{target.python[1]}/site-packages"
        places = [f"/opt/{root}".removesuffix("/") for root in sorted(ignored)]
        yield f"{target.runtime} imports nothing of {listed(places)}: it searches `/opt/python` and `{site}`"


def _damaged(files: ExaminedFiles) -> Iterator[str]:
    # A doubtful file may be data, or a script for a linker.
    broken = [path for path, facts in files.binaries.items() if "damage" in facts and not facts.get("is_doubtful")]
    if broken:
        yield f"{listed(broken)} cannot be loaded: {files.binaries[broken[0]]['damage']}"
    foreign = [
        path for path, facts in files.binaries.items() if facts["kind"] != "ELF" and path.endswith((".so", ".pyd"))
    ]
    if foreign:
        yield f"{listed(foreign)} {'are' if len(foreign) > 1 else 'is'} for macOS or Windows"
    wrong = [each.path for each in files.bytecode if (tag := _tagged(each)) is not None and tag != _python(each)]
    if wrong:
        yield f"{listed(wrong)} {'are' if len(wrong) > 1 else 'is'} not the bytecode of the Python in the name, so Python ignores it"


def _in_target(files: ExaminedFiles, paths: Container[str], target: Target) -> Iterator[str]:
    name = f"{target.runtime} on {target.architecture}"
    machine = "EM_AARCH64" if target.architecture is Architecture.ARM64 else "EM_X86_64"
    modules = {
        path: (facts, found["tag"])
        for path, facts in files.binaries.items()
        if "machine" in facts and (found := BINARY_MODULE.fullmatch(path)) is not None
    }
    usable = {
        _stem(path) for path, (facts, tag) in modules.items() if facts["machine"] == machine and is_seen(tag, target)
    }
    wrong = [path for path, (facts, _) in modules.items() if facts["machine"] != machine and _stem(path) not in usable]
    if wrong:
        yield f"{name} cannot load {listed(wrong)}: built for {_machines(files, wrong)}"
    unseen = [
        path
        for path, (facts, tag) in modules.items()
        if facts["machine"] == machine and not is_seen(tag, target) and _stem(path) not in usable
    ]
    if unseen:
        yield f"{name} does not import {listed(unseen)}: the suffix is for another Python"
    yield from _glibc(files, target, machine)
    yield from _bytecode(files, paths, target)


def _stem(path: str) -> str:
    directory, _, name = path.rpartition("/")
    return f"{directory}/{name.partition('.')[0]}"


def _machines(files: ExaminedFiles, paths: Sequence[str]) -> str:
    machines = dict.fromkeys(files.binaries[path]["machine"] for path in paths)
    return " and ".join(MACHINES.get(machine, machine) for machine in machines)


def _glibc(files: ExaminedFiles, target: Target, machine: str) -> Iterator[str]:
    system = system_of(target)
    own = {path.rpartition("/")[2] for path in files.binaries}
    lacking = {
        path: version
        for path, facts in files.binaries.items()
        if facts.get("machine") == machine
        for library, versions in facts["versions"].items()
        if library not in own
        for version in versions
        if system.lacks(version)
    }
    if lacking:
        version = next(iter(lacking.values()))
        yield f"{target.runtime} on {target.architecture} cannot load {listed(list(lacking))}: it needs `{version}`, and the runtime has at most `{system.highest(version)}`"


def _bytecode(files: ExaminedFiles, paths: Container[str], target: Target) -> Iterator[str]:
    python = "{}.{}".format(*target.python)
    by_time = [each for each in files.bytecode if each.kind == "time" and _tagged(each) == _python(each) == python]
    if by_time:
        yield (
            f"{count(len(by_time), 'file')} of bytecode for Python {python} {'depend' if len(by_time) > 1 else 'depends'} on the time of the source, which differs on Lambda, so Python "
            "compiles the source in every cold start"
        )
    # Beside its source, such a file is never read.
    alone = [
        each.path
        for each in files.bytecode
        if _tagged(each) is None and _python(each) != python and each.path.removesuffix("c") not in paths
    ]
    if alone:
        yield f"Python {python} cannot import {listed(alone)}: it is bytecode for {_written_by(files.bytecode, alone[0])}"


def _tagged(bytecode: BytecodeFile) -> str | None:
    """Return the version of Python in the name of the file, or ``None`` if it is next to the sources, where every Python reads it."""
    found = _TAG.fullmatch(tag_of(bytecode.path) or "")
    return None if found is None else f"{found[1]}.{found[2]}"


def _python(bytecode: BytecodeFile) -> str | None:
    return python_of_magic(bytecode.magic)


def _written_by(bytecode: Sequence[BytecodeFile], path: str) -> str:
    python = next(_python(each) for each in bytecode if each.path == path)
    return _UNKNOWN if python is None else f"Python {python}"
