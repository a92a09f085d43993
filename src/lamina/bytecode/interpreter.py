"""
Find a CPython of the target's minor version on this machine.

Bytecode and the local runtime need one; nothing else of lamina asks what is installed here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.core.errors import BytecodeError, ConfigError
from lamina.core.frozen import frozen
from lamina.core.toml import read_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_PROBE_SECONDS = 10
# Written for Python 2 as well: whatever calls itself `python` may be asked.
_PROBE = """
import json, os, platform, sys
try:
    from importlib.util import MAGIC_NUMBER as magic
except ImportError:
    magic = b""
print(json.dumps({
    "path": os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
    "version": list(sys.version_info[:3]),
    "cpython": platform.python_implementation() == "CPython",
    "threaded": "t" in getattr(sys, "abiflags", ""),
    "magic": "".join("%02x" % octet for octet in bytearray(magic)),
}))
"""


@frozen
class Interpreter:
    """A CPython on this machine that was asked what it is."""

    path: Path
    """The real file, outside any virtual environment."""
    version: tuple[int, int, int]
    magic: str
    """The four bytes that begin its bytecode files, hexadecimal."""


def environment_variable(python: tuple[int, int]) -> str:
    """Return the name of the variable that may name the interpreter of the minor *python*."""
    return f"LAMINA_PYTHON_{python[0]}_{python[1]}"


def magic_number(python: tuple[int, int]) -> str:
    """
    Return the four bytes (hexadecimal) that begin every bytecode file of the minor *python*, without running it.

    Raises `BytecodeError` for a minor that lamina does not know.
    """
    known: dict[str, int] = read_data("bytecode.toml")["magic"]
    name = f"{python[0]}.{python[1]}"
    if name not in known:
        raise BytecodeError(
            f"The bytecode of Python {name} is not known to this version of lamina",
            hint='upgrade lamina, or build without bytecode: bytecode = "none"',
        )
    return (known[name].to_bytes(2, "little") + b"\r\n").hex()


def find(
    python: tuple[int, int],
    *,
    explicit: Path | None = None,
    cache: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Interpreter:
    """
    Return a CPython of exactly the minor *python*; see `search`.

    Raises `BytecodeError` if there is none, and `ConfigError` if the one that was named is another.
    """
    found = search(python, explicit=explicit, cache=cache, environ=environ)
    if found is None:
        name = f"{python[0]}.{python[1]}"
        raise BytecodeError(
            f"No CPython {name} was found on this machine to compile bytecode for the target",
            hint=f"install that minor (such as `uv python install {name}`), or name it in "
            f'`{environment_variable(python)}`, or build without bytecode: bytecode = "none"',
        )
    return found


def search(
    python: tuple[int, int],
    *,
    explicit: Path | None = None,
    cache: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Interpreter | None:
    """
    Return a CPython of exactly the minor *python*, or nothing if there is none.

    *explicit*, then the variable `environment_variable` in *environ*, name the one to take. Otherwise the ones on `PATH` and
    those of asdf, pyenv, rye and uv are looked at; nothing is downloaded. The answer is remembered in the file
    *cache*, and while that interpreter has not changed, no process is started.

    Free-threaded builds and pre-releases whose bytecode differs from the release are passed over.
    Raises `ConfigError` if the one that was named is none of that.
    """
    variable = environment_variable(python)
    named = explicit or (Path(environ[variable]) if environ.get(variable) else None)
    # A link that names one may name another tomorrow.
    key = f"{python[0]}.{python[1]}" if named is None else f"{python[0]}.{python[1]} {named.resolve()}"
    remembered = _recall(cache, key)
    if remembered is not None:
        return remembered
    found = _named(named, python, variable=None if explicit else variable) if named else _discover(python)
    if found is not None and cache is not None:
        _remember(cache, key, found)
    return found


def _named(path: Path, python: tuple[int, int], *, variable: str | None) -> Interpreter:
    """Return the interpreter that the user named, or say what it is instead."""
    interpreter, description = _probe(path)
    if interpreter is None or not _fits(interpreter, python):
        origin = f"`{variable}` names" if variable else "The interpreter given is"
        raise ConfigError(
            f"{origin} `{path}`, which is {description}, not a release of CPython {python[0]}.{python[1]}",
            hint=f"name the executable of a CPython {python[0]}.{python[1]}",
        )
    return interpreter


def _fits(interpreter: Interpreter, python: tuple[int, int]) -> bool:
    """Whether *interpreter* writes what the released minor *python* reads."""
    if interpreter.version[:2] != python:
        return False
    try:
        return interpreter.magic == magic_number(python)
    except BytecodeError:
        # It can still run handlers; compiling asks for the magic number first, and says so.
        return True


def _discover(python: tuple[int, int]) -> Interpreter | None:
    """Return the first interpreter of the minor *python* among those that findpython lists."""
    for path in _by_promise(_installed(), python):
        interpreter, _ = _probe(path)
        if interpreter is not None and _fits(interpreter, python):
            return interpreter
    return None


def _installed() -> Iterator[Path]:
    """
    List what looks like an interpreter, without starting any.

    `findpython.find` starts every one of them (measured: 4.6 s for ten); the providers alone only read directories.
    """
    from findpython import Finder
    from findpython.providers import ALL_PROVIDERS

    for provider in Finder(selected_providers=list(ALL_PROVIDERS)).setup_providers():
        for candidate in provider.find_pythons():
            yield candidate.executable


def _by_promise(paths: Iterable[Path], python: tuple[int, int]) -> list[Path]:
    """Order *paths* by what their names promise, and leave out those that are by name another minor."""
    wanted = f"{python[0]}.{python[1]}"

    def other(path: Path) -> bool:
        named = re.fullmatch(r"python(\d+(?:\.\d+)?)t?(?:\.exe)?", path.name)
        return named is not None and named[1] not in {wanted, str(python[0])}

    def promise(path: Path) -> tuple[bool, bool]:
        mentions = re.search(rf"(?<![\d.]){re.escape(wanted)}(?!\d)", str(path)) is not None
        # A shim of a version manager answers for a version that is not switched on, and takes long to do so.
        return not mentions, "shims" in path.parts

    return sorted((path for path in dict.fromkeys(paths) if not other(path)), key=promise)


def ask(path: Path, program: str) -> Any:
    """
    Return what the source *program* prints as JSON where the interpreter *path* runs it, apart from everything installed.

    Raises OSError, SubprocessError or ValueError if it does not answer.
    """
    import json
    import subprocess

    command = [str(path), "-E", "-s", "-S", "-B", "-c", program]
    done = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL, timeout=_PROBE_SECONDS)
    return json.loads(done.stdout)


def _probe(path: Path) -> tuple[Interpreter | None, str]:
    """Ask *path* what it is: the interpreter if it is a usable CPython, and a description for people."""
    import subprocess

    try:
        told = ask(path, _PROBE)
        version: tuple[int, int, int] = tuple(told["version"])
        usable = bool(told["cpython"]) and not told["threaded"]
        interpreter = Interpreter(path=Path(told["path"]), version=version, magic=str(told["magic"]))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None, "no Python interpreter"
    kind = "CPython" if told["cpython"] else "another Python"
    description = f"{'free-threaded ' if told['threaded'] else ''}{kind} {'.'.join(map(str, version))}"
    return (interpreter if usable else None), description


def _recall(cache: Path | None, key: str) -> Interpreter | None:
    """Return what *cache* remembers under *key*, unless that file has changed since."""
    if cache is None:
        return None
    import json

    try:
        row = json.loads(cache.read_bytes())[key]
        major, minor, micro = row["version"]
        path = Path(row["path"])
        if row["stamp"] != _stamp(path):
            return None
        return Interpreter(path=path, version=(int(major), int(minor), int(micro)), magic=str(row["magic"]))
    except (OSError, RecursionError, ValueError, KeyError, TypeError):
        # Whatever is wrong with a cache, looking again is right.
        return None


def _remember(cache: Path, key: str, interpreter: Interpreter) -> None:
    """Write *interpreter* into *cache* under *key*, atomically; others' rows written meanwhile may be lost, and are found again."""
    import json

    from lamina.core.files import replace_file

    try:
        rows = dict(json.loads(cache.read_bytes()))
    except (OSError, RecursionError, ValueError, TypeError):
        rows = {}
    rows[key] = {
        "path": str(interpreter.path),
        "stamp": _stamp(interpreter.path),
        "version": list(interpreter.version),
        "magic": interpreter.magic,
    }
    replace_file(cache, json.dumps(rows, sort_keys=True).encode())


def _stamp(path: Path) -> list[int]:
    """Return what changes when the executable is replaced: size in bytes and modification time in nanoseconds."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
