"""Bytecode: every interpreter on this machine produces the same bytes, regardless of earlier compilations."""

from __future__ import annotations

import importlib.util
import marshal
import os
import random
import stat
import subprocess
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamina.archive.segment import Recipe
from lamina.archive.zip.zipformat import DEFLATED
from lamina.bytecode import interpreter as interpreters
from lamina.bytecode.bounds import ProcessBounds, is_too_large
from lamina.bytecode.compiler import Compiled, Compiler, Invalidation, bytecode_path
from lamina.bytecode.imports.scan import ImportStatement, decode
from lamina.bytecode.interpreter import Interpreter
from lamina.bytecode.segment import bytecode_segment, package_bytecode
from lamina.core.errors import BytecodeError
from lamina.core.store import Store
from lamina.core.supervised.supervisor import children
from lamina.core.values import Pin, Wheel
from wheels import make_wheel, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = "/opt/python/"
# The conditions of CPython issue 129724: an interned name, and two set constants that contain the name.
POISON = ("a.py", b"import foo\n")
POISONED = ("b.py", b"a = {'foo', 2, 3}\n\ndef f():\n    b = x in {'foo', 2, 3}\n    return y in {'foo', 2, 3}\n")
SOURCES = [
    POISON,
    POISONED,
    ("package/__init__.py", b"from package.c import C\n"),
    (
        "package/c.py",
        b"class C:\n    def method(self, *, key: str = 'foo') -> bool:\n        return key in {'x', None}\n",
    ),
    ("latin.py", "# -*- coding: latin-1 -*-\nname = 'é'\n".encode("latin-1")),
]
HERE = (sys.version_info[0], sys.version_info[1])


@pytest.fixture(params=[(3, minor) for minor in (9, 10, 11, 12, 13, 14)], ids=lambda python: f"{python[0]}.{python[1]}")
def interpreter(
    request: pytest.FixtureRequest, installed_python: Callable[[tuple[int, int]], Interpreter]
) -> Interpreter:
    return installed_python(request.param)


@pytest.fixture
def own() -> Interpreter:
    return interpreters.find(HERE, explicit=Path(sys.executable))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def compile_all(
    interpreter: Interpreter, sources: list[tuple[str, bytes]], *, jobs: int | None = None, forks: bool = True
) -> dict[str, Compiled]:
    with Compiler(interpreter, jobs=jobs, forks=forks) as compiler:
        return {done.path: done for done in compiler.compile(sources, root=ROOT)}


def wheel(directory: Path, files: Mapping[str, bytes | str]) -> Wheel:
    path = make_wheel(directory, "demo", "1.0", files)
    return Wheel(pin=Pin(name="demo", version="1.0", filename=path.name, sha256=sha256(path)), path=path)


def member_paths(directory: bytes) -> list[str]:
    paths, position = [], 0
    while position < len(directory):
        length = int.from_bytes(directory[position + 28 : position + 30], "little")
        paths.append(directory[position + 46 : position + 46 + length].decode())
        position += 46 + length
    return paths


def write_counting_python(path: Path, own: Interpreter) -> Interpreter:
    """Replace the interpreter with a wrapper that counts its starts."""
    path.write_text(f'#!/bin/sh\necho started >> "{path}.starts"\nexec "{own.path}" "$@"\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return Interpreter(path=path, version=own.version, magic=own.magic)


def test_bytecode_does_not_depend_on_what_was_compiled_before(interpreter: Interpreter) -> None:
    """A source compiles to the same bytes even if another source has interned a string of its set constants."""
    alone = compile_all(interpreter, [POISONED], jobs=1)["b.py"]
    after = compile_all(interpreter, [POISON, POISON, POISONED], jobs=1)["b.py"]

    assert alone == after


def test_reproducer_still_reproduces(installed_python: Callable[[tuple[int, int]], Interpreter]) -> None:
    """If one process compiles both files, CPython's own bytes differ, so fresh processes are necessary."""
    found = installed_python((3, 12))
    # The program must not contain the name itself, which would intern it at the start.
    program = (
        "import marshal, sys\n"
        "if len(sys.argv) > 1: known = compile('import ' + chr(102) + 'oo', 'a.py', 'exec')\n"
        f"source = bytes.fromhex('{POISONED[1].hex()}')\n"
        "sys.stdout.buffer.write(marshal.dumps(compile(source, 'b.py', 'exec')))\n"
    )

    def run(*arguments: str) -> bytes:
        command = [str(found.path), "-I", "-S", "-c", program, *arguments]
        return subprocess.run(command, check=True, capture_output=True).stdout

    assert run() != run("poison")


def test_bytecode_does_not_depend_on_order_jobs_or_forks(interpreter: Interpreter) -> None:
    """The bytes do not depend on the order, the number of processes, or whether the worker forks."""
    shuffled = random.Random(1).sample(SOURCES, len(SOURCES))  # noqa: S311

    first = compile_all(interpreter, SOURCES, jobs=1)

    assert first == compile_all(interpreter, shuffled, jobs=3)
    assert first == compile_all(interpreter, SOURCES[::-1], jobs=2, forks=False)


def test_bytecode_does_not_depend_on_scanning(interpreter: Interpreter) -> None:
    """A process that scans a source and compiles it returns the same bytecode, in any order and for set constants too."""
    expected = compile_all(interpreter, [*SOURCES, POISONED], jobs=1)
    shuffled = random.Random(2).sample([*SOURCES, POISON, POISONED], len(SOURCES) + 2)  # noqa: S311

    with Compiler(interpreter, jobs=1) as compiler:
        results = list(compiler.map(lambda source: compiler.scan(*source, root=ROOT), shuffled))
        (imports, nothing) = next(compiler.map(lambda source: compiler.scan(*source), [("a.py", b"import demo")]))

    assert expected == {done.path: done for _, done in results if done is not None and done.path in expected}
    assert nothing is None
    assert (ImportStatement("demo"),) == decode(imports).imports


def test_bytecode_does_not_depend_on_surroundings(
    interpreter: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes do not depend on the working directory, the hash seed, Python variables, or a module that hides another."""
    first = compile_all(interpreter, SOURCES)
    (tmp_path / "types.py").write_text("raise SystemExit('shadowed')\n")
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "PYTHONHASHSEED": "7",
        "PYTHONOPTIMIZE": "2",
        "PYTHONPATH": str(tmp_path),
        "TZ": "Asia/Tokyo",
    }.items():
        monkeypatch.setenv(name, value)

    assert first == compile_all(interpreter, SOURCES)


def test_bytecode_is_what_the_import_system_makes(own: Interpreter) -> None:
    """The header has PEP 552's flags for unchecked hashes and the source's hash, and tracebacks name the layer's path."""
    path, source = SOURCES[3]

    bytecode = compile_all(own, [SOURCES[3]])[path].bytecode

    assert bytecode is not None
    assert importlib.util.MAGIC_NUMBER + b"\1\0\0\0" + importlib.util.source_hash(source) == bytecode[:16]
    code = marshal.loads(bytecode[16:])  # noqa: S302
    assert "/opt/python/package/c.py" == code.co_filename
    nested = next(constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    assert "/opt/python/package/c.py" == nested.co_filename


def test_declared_encoding_is_obeyed(own: Interpreter) -> None:
    """A source with a coding cookie is compiled from its bytes."""
    bytecode = compile_all(own, [SOURCES[4]])["latin.py"].bytecode

    assert bytecode is not None
    namespace: dict[str, object] = {}
    exec(marshal.loads(bytecode[16:]), namespace)  # noqa: S102, S302
    assert "é" == namespace["name"]


def test_refused_source_is_reported_and_harms_nobody(own: Interpreter) -> None:
    """Python 2 code, templates, null bytes and deep nesting are each reported with the interpreter's message."""
    sources = [
        ("old.py", b"print 'x'\n"),
        ("null.py", b"a\0b"),
        ("deep.py", b"(" * 5000 + b")" * 5000),
        ("good.py", b"x = 1\n"),
    ]

    done = compile_all(own, sources, jobs=1)

    assert ["good.py"] == [path for path, each in done.items() if each.bytecode is not None]
    assert done["old.py"].reason is not None
    assert done["old.py"].reason.startswith("SyntaxError: Missing parentheses in call to 'print'")


def test_wrong_magic_is_refused(own: Interpreter) -> None:
    """An interpreter whose bytecode the target does not read is rejected before compiling."""
    with pytest.raises(BytecodeError) as caught:
        Compiler(Interpreter(path=own.path, version=(3, 13, 0), magic="f00d0d0a"))

    assert (
        f"`{own.path}` (CPython 3.13.0) writes bytecode with magic number f00d0d0a, but Python 3.13 on Lambda reads f30d0d0a"
        == str(caught.value)
    )


@pytest.mark.parametrize("executable", ["/nonexistent/python", "/bin/false"])
def test_interpreter_that_does_not_run_is_an_error(own: Interpreter, executable: str) -> None:
    """A missing or broken interpreter raises an error about the interpreter, not about the sources."""
    broken = Interpreter(path=Path(executable), version=own.version, magic=own.magic)

    with Compiler(broken, jobs=1) as compiler, pytest.raises(BytecodeError) as caught:
        list(compiler.compile(SOURCES, root=ROOT))

    assert str(caught.value).startswith(f"the interpreter `{executable}` failed: ")


def test_no_process_outlives_the_compiler(own: Interpreter, tmp_path: Path) -> None:
    """Closing the compiler during a job ends its processes."""
    if not Path("/proc/self/task").exists():
        pytest.skip("children are counted through /proc")
    # Other tests in this process may run servers.
    before = set(children(os.getpid()))

    with Compiler(own, jobs=2) as compiler:
        next(compiler.compile([*SOURCES] * 20, root=ROOT))
        during = set(children(os.getpid()))

    assert during > before
    assert set() == set(children(os.getpid())) - before


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a.py", "__pycache__/a.cpython-313.pyc"),
        ("p/q/__init__.py", "p/q/__pycache__/__init__.cpython-313.pyc"),
    ],
)
def test_bytecode_path(source: str, expected: str) -> None:
    """Bytecode is stored at the path defined by PEP 3147."""
    assert expected == bytecode_path(source, (3, 13))


def test_segment_holds_the_bytecode_of_the_chosen_modules(own: Interpreter, tmp_path: Path, store: Store) -> None:
    """Only chosen sources that are in the layer get bytecode, each in its directory below ``python/``."""
    demo = wheel(
        tmp_path, {"demo/__init__.py": "", "demo/a.py": "x = 1\n", "demo/b.py": "y = 2\n", "demo/data.txt": "z"}
    )

    with Compiler(own) as compiler:
        made = bytecode_segment(
            demo,
            Recipe(exclude=("demo/b.py",)),
            compiler=compiler,
            store=store,
            modules=frozenset({"demo/a.py", "demo/b.py", "demo/missing.py"}),
        )

    assert [f"python/{bytecode_path('demo/a.py', HERE)}"] == member_paths(made.segment.directory)


def test_segment_without_a_choice_holds_all(own: Interpreter, tmp_path: Path, store: Store) -> None:
    """Without a choice, all sources are compiled; those that fail are reported, also for a segment from the store."""
    demo = wheel(tmp_path, {"demo/__init__.py": "", "demo/old.py": "print 'x'\n"})

    with Compiler(own) as compiler:
        made = bytecode_segment(demo, Recipe(), compiler=compiler, store=store)
        again = bytecode_segment(demo, Recipe(), compiler=compiler, store=store)

    assert [f"python/{bytecode_path('demo/__init__.py', HERE)}"] == member_paths(made.segment.directory)
    assert ["demo/old.py"] == [path for path, _ in made.refused]
    assert made == again


def test_growing_choice_compiles_only_what_is_new(own: Interpreter, tmp_path: Path, store: Store) -> None:
    """A module of a wheel is compiled only once, and the result equals that of one complete compilation."""
    files = {f"demo/m{number}.py": f"x = {number}\n" for number in range(4)}
    demo = wheel(tmp_path, files)
    counting = write_counting_python(tmp_path / "python", own)
    few, many = frozenset(list(files)[:2]), frozenset(files)

    def build(modules: frozenset[str] | None, into: Store) -> bytes:
        with Compiler(counting, jobs=1) as compiler:
            made = bytecode_segment(demo, Recipe(), compiler=compiler, store=into, modules=modules)
        return made.segment.path.read_bytes()[: made.segment.zipped_bytes]

    build(few, store)
    grown = build(many, store)
    starts = len(Path(f"{counting.path}.starts").read_text().splitlines())
    shrunk = build(frozenset(list(files)[1:3]), store)

    assert build(many, Store.open(tmp_path / "other")) == grown
    assert 2 == starts
    assert build(frozenset(list(files)[1:3]), Store.open(tmp_path / "third")) == shrunk


def test_second_build_starts_no_interpreter(own: Interpreter, tmp_path: Path, store: Store) -> None:
    """A segment in the store is used without compiling."""
    demo = wheel(tmp_path, {"demo/__init__.py": "x = 1\n"})
    counting = write_counting_python(tmp_path / "python", own)
    for _ in range(2):
        with Compiler(counting, jobs=1) as compiler:
            bytecode_segment(demo, Recipe(), compiler=compiler, store=store)

    assert 1 == len(Path(f"{counting.path}.starts").read_text().splitlines())


def test_package_bytecode_notices_edits(own: Interpreter) -> None:
    """A function's own bytecode is checked against its source, which can change in the console, and names ``/var/task``."""
    source = b"def lambda_handler(event, context):\n    return event\n"

    with Compiler(own) as compiler:
        members, refused = package_bytecode([("handlers/a.py", source), ("bad.py", b"print 1")], compiler=compiler)
        made = next(
            iter(compiler.compile([("handlers/a.py", source)], root="/var/task/", invalidation=Invalidation.CHECKED))
        )

    assert made.bytecode is not None
    assert [(bytecode_path("handlers/a.py", HERE), len(made.bytecode))] == [
        (entry.member.path, entry.member.size) for entry in members
    ]
    assert b"\3\0\0\0" == made.bytecode[4:8]
    assert b"/var/task/handlers/a.py" in made.bytecode
    assert DEFLATED == members[0].member.method
    assert ["bad.py"] == [path for path, _ in refused]


WIDE = b"x = [" + b"0," * 300_000 + b"]\n"


def test_too_large_is_decided_by_the_source(store: Store, tmp_path: Path, own: Interpreter) -> None:
    """A source with too many tokens gets no bytecode, and says so; long texts and comments do not count."""
    long = b"'''" + b"words, and commas " * 100_000 + b"'''\n" + b"# a, b, c\n" * 100_000
    demo = wheel(tmp_path, {"demo/wide.py": WIDE, "demo/long.py": long})
    with Compiler(own, jobs=1) as compiler:
        made = bytecode_segment(demo, Recipe(), compiler=compiler, store=store)

    assert (("demo/wide.py", "the source is too large"),) == made.refused
    assert 1 == made.segment.rows


@pytest.mark.parametrize(
    ("source", "size"),
    [
        (b"a = b + 12\n", 6),
        (b"# a b c\nx\n", 3),
        (b'f(\'a b\', "c\\" d")\n', 7),
        (b"'''a\n\"b\" c'''", 1),
        (b'"""a\nb""" + "open', 4),
    ],
)
def test_size_of_a_source(source: bytes, size: int) -> None:
    """The size counts names, numbers, operators, lines and texts, and the length."""
    size += len(source) // 16

    assert (False, True) == (is_too_large(source, size), is_too_large(source, size - 1))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the memory")
@pytest.mark.parametrize("forks", [True, False])
def test_too_little_memory_is_an_error(own: Interpreter, forks: bool) -> None:
    """A source that is not too large and for which there is no memory is an error with its name, and is not left out."""
    bounds = ProcessBounds(memory_bytes=80 << 20, seconds=60)
    source = b"y = x in {'a', 'b'}\nx = [" + b"a," * 100_000 + b"]\n"
    with Compiler(own, jobs=1, bounds=bounds, forks=forks) as compiler, pytest.raises(BytecodeError) as caught:
        list(compiler.compile([("demo/wide.py", source)], root=ROOT))

    assert f"there is too little memory to compile `demo/wide.py` with the interpreter `{own.path}`" == str(
        caught.value
    )
    assert 'leave the file out with `exclude`, or set `bytecode = "none"`' == caught.value.hint


@pytest.mark.skipif(sys.platform == "win32", reason="the fake is a shell script")
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("exec sleep 60", "`a.py` was not compiled within 1 s by the interpreter `{}`"),
        ("exec cat", "`a.py` was not compiled within 1 s by the interpreter `{}`"),
        (
            "printf '\\001\\377\\377\\377\\377'; exec sleep 60",
            "`a.py` was not compiled within 1 s by the interpreter `{}`",
        ),
        (
            "printf '\\007\\004\\000\\000\\000\\000\\000\\000\\000'; exec cat > /dev/null",
            "the interpreter `{}` failed: its answer cannot be understood",
        ),
        ("exit 0", "the interpreter `{}` failed: it exited"),
    ],
    ids=["silent", "echo", "endless", "unknown", "gone"],
)
def test_strange_answers(tmp_path: Path, own: Interpreter, answer: str, message: str) -> None:
    """A program that answers nonsense, or does not answer, is an error after its time."""
    bounds = ProcessBounds(memory_bytes=1 << 30, seconds=1)
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{answer}\n")
    path.chmod(0o755)
    strange = Interpreter(path=path, version=own.version, magic=own.magic)
    with Compiler(strange, jobs=1, bounds=bounds) as compiler, pytest.raises(BytecodeError) as caught:
        list(compiler.compile([("a.py", b"a = 1\n" * 100_000)], root=ROOT))

    assert str(caught.value).startswith(message.format(path))
