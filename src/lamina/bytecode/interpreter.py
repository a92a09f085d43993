"""
Find a CPython of the target's minor version on this machine.

Only compiling bytecode and running functions locally need an installed interpreter.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.core.documents import INVALID, is_sealed, open_sealed, read_bounded, seal
from lamina.core.errors import BytecodeError, ConfigError
from lamina.core.frozen import frozen
from lamina.core.store import FORMAT
from lamina.core.toml import read_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lamina.core.store import Store

CACHE = f"interpreters-{FORMAT}.json"
"""The name of the file in the store that keeps the results of searches."""
_PROBE_SECONDS = 10
_MOST_OUTPUT_BYTES = 1 << 20
# Programs that install any minor version of CPython, with their commands.
_INSTALLERS = (
    ("uv", "uv python install {}"),
    ("pyenv", "pyenv install {}"),
    ("mise", "mise install python@{}"),
    ("brew", "brew install python@{}"),
    ("winget", "winget install Python.Python.{}"),
)
_OTHERWISE = "pip install uv && uv python install {}"
# Valid in Python 2 too, because an executable named `python` can be any version.
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
    """A CPython on this machine, with the details that it reported."""

    path: Path
    """The executable, outside any virtual environment."""
    version: tuple[int, int, int]
    magic: str
    """The first four bytes of the bytecode files that it writes, in hexadecimal."""


def environment_variable(python: tuple[int, int]) -> str:
    """Return the name of the environment variable that sets the interpreter for the minor version *python*."""
    return f"LAMINA_PYTHON_{python[0]}_{python[1]}"


def magic_number(python: tuple[int, int]) -> str:
    """
    Return the first four bytes, in hexadecimal, of the bytecode files of the minor version *python*.

    They come from ``data/bytecode.toml``, so no interpreter is started. Raises `BytecodeError` if the file does not list
    the version.
    """
    known: dict[str, int] = read_data("bytecode.toml")["magic"]
    name = f"{python[0]}.{python[1]}"
    if name not in known:
        raise BytecodeError(
            f"this version of lamina does not support bytecode for Python {name}",
            hint='upgrade lamina, or set `bytecode = "none"`',
        )
    return (known[name].to_bytes(2, "little") + b"\r\n").hex()


def python_of_magic(number: int) -> str | None:
    """Return the minor version of Python, such as ``3.13``, whose bytecode starts with *number*; ``None`` if the version is not known."""
    known: dict[str, int] = read_data("bytecode.toml")["magic"]
    return next((python for python, magic in known.items() if magic == number), None)


def cache_in(store: Store) -> Path:
    """Return the file of *store* that keeps the results of searches. If it is damaged, it is discarded first, so that a note says so."""
    path = store.root / CACHE
    content = read_bounded(path)
    if content is not None and not is_sealed(content, CACHE):
        store.discard(path)
    return path


def find(
    python: tuple[int, int],
    *,
    explicit: Path | None = None,
    cache: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Interpreter:
    """
    Return a CPython of exactly the minor version *python*; `search` describes the arguments.

    Raises `BytecodeError` if none is found, and `ConfigError` if the specified interpreter is unsuitable.
    """
    found = search(python, explicit=explicit, cache=cache, environ=environ)
    if found is None:
        raise not_found(python)
    return found


def not_found(python: tuple[int, int]) -> BytecodeError:
    """Return the error that this machine has no CPython of the minor version *python*, with the ways to get it."""
    return BytecodeError(
        f"no CPython {python[0]}.{python[1]} found on this machine to compile bytecode for the target",
        hint=f"{how_to_install(python)}; or set `{environment_variable(python)}` to its executable, or set "
        '`bytecode = "none"`',
    )


def how_to_install(python: tuple[int, int]) -> str:
    """Return how to install the minor version *python* for a build on this machine: by lamina with uv, or with a command."""
    import shutil

    if find_uv() is None:
        return f"run `{command_to_install(python)}`"
    if shutil.which("uv"):
        return f"run `{command_to_install(python)}`, or add `--install-python` to your command"
    return "add `--install-python` to your command, so that uv installs it"


def command_to_install(python: tuple[int, int]) -> str:
    """Return the command that installs the minor version *python*, of a program that this machine has; uv is preferred."""
    import shutil

    command = next((command for program, command in _INSTALLERS if shutil.which(program)), _OTHERWISE)
    return command.format(f"{python[0]}.{python[1]}")


def find_uv() -> str | None:
    """Return the path of uv: next to this interpreter, where ``lamina[uv]`` installs it, else on ``PATH``; or ``None``."""
    import shutil

    beside = Path(sys.executable).with_name("uv.exe" if sys.platform == "win32" else "uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


def search(
    python: tuple[int, int],
    *,
    explicit: Path | None = None,
    cache: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Interpreter | None:
    """
    Return a CPython of exactly the minor version *python*, or ``None`` if none is found.

    The user can specify the executable: as *explicit*, or in the variable of *environ* that `environment_variable` names.
    Otherwise, the search covers `PATH` and the interpreters of asdf, pyenv, rye and uv; nothing is downloaded. The file
    *cache* keeps the result. While the cached interpreter's file is unchanged, no process is started.

    The search skips free-threaded interpreters, and pre-releases with other bytecode than the release.
    Raises `ConfigError` if the specified interpreter is one of these, another version, or does not run.
    """
    variable = environment_variable(python)
    named = explicit or (Path(environ[variable]) if environ.get(variable) else None)
    # The path may be a symbolic link, which can change. Use its target in the key.
    key = f"{python[0]}.{python[1]}" if named is None else f"{python[0]}.{python[1]} {named.resolve()}"
    remembered = _recall(cache, key)
    if remembered is not None:
        return remembered
    found = _named(named, python, variable=None if explicit else variable) if named else _discover(python)
    if found is not None and cache is not None:
        _remember(cache, key, found)
    return found


def _named(path: Path, python: tuple[int, int], *, variable: str | None) -> Interpreter:
    """Return the interpreter at *path*, which the user specified. Raises `ConfigError` if it is unsuitable."""
    interpreter, description = _probe(path)
    if interpreter is None or not _fits(interpreter, python):
        origin = f"`{variable}` is set to" if variable else "the specified interpreter is"
        raise ConfigError(
            f"{origin} `{path}`, which is {description}; lamina needs a release of CPython {python[0]}.{python[1]} that is not "
            "free-threaded",
            hint=f"specify the executable of such a release; to install one, run `{command_to_install(python)}`",
        )
    return interpreter


def _fits(interpreter: Interpreter, python: tuple[int, int]) -> bool:
    """
    Return whether *interpreter* has the minor version *python*, and writes the bytecode of its releases.

    If lamina does not support bytecode for the version, only the version is compared.
    """
    if interpreter.version[:2] != python:
        return False
    try:
        return interpreter.magic == magic_number(python)
    except BytecodeError:
        # The interpreter can still run handlers. Compiling calls `magic_number` first, which raises this error.
        return True


def _discover(python: tuple[int, int]) -> Interpreter | None:
    """Return the first suitable interpreter that findpython lists, or ``None``. The most likely ones are tried first."""
    for path in _by_promise(_installed(), python):
        interpreter, _ = _probe(path)
        if interpreter is not None and _fits(interpreter, python):
            return interpreter
    return None


def _installed() -> Iterator[Path]:
    """
    Yield the paths of possible interpreters, without starting any of them.

    `findpython.find` starts every interpreter (measured: 4.6 s for ten). Its providers alone only read directories.
    """
    from findpython import Finder
    from findpython.providers import ALL_PROVIDERS

    for provider in Finder(selected_providers=list(ALL_PROVIDERS)).setup_providers():
        for candidate in provider.find_pythons():
            yield candidate.executable


def _by_promise(paths: Iterable[Path], python: tuple[int, int]) -> list[Path]:
    """Return *paths* without those named after another Python version; those most likely to be version *python* come first."""
    wanted = f"{python[0]}.{python[1]}"

    def other(path: Path) -> bool:
        named = re.fullmatch(r"python(\d+(?:\.\d+)?)t?(?:\.exe)?", path.name)
        return named is not None and named[1] not in {wanted, str(python[0])}

    def promise(path: Path) -> tuple[bool, bool]:
        mentions = re.search(rf"(?<![\d.]){re.escape(wanted)}(?!\d)", str(path)) is not None
        # A version manager's shim also exists for versions that are not active, and is slow to respond.
        return not mentions, "shims" in path.parts

    return sorted((path for path in dict.fromkeys(paths) if not other(path)), key=promise)


OWN_MODULES_ONLY = "import sys\nsys.path[:] = [entry for entry in sys.path if entry]\n"
"""
Precedes each program that is passed to Python as a string: such a program imports from its working directory first, which is the
project's. Option -P does the same from Python 3.11 on.
"""


def ask(path: Path, program: str) -> Any:
    """
    Run the source *program* with the interpreter *path*, isolated from installed packages, and return its JSON output.

    Raises OSError, SubprocessError, ValueError or RecursionError if the program fails, needs more than 10 seconds, or prints no
    JSON.
    """
    import json
    import subprocess
    from time import monotonic

    from lamina.bytecode.pipes import read

    command = [str(path), "-E", "-s", "-S", "-B", "-c", OWN_MODULES_ONLY + program]
    deadline = monotonic() + _PROBE_SECONDS
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            # Anything may be called `python`, so its output is bounded.
            output = read(process.stdout.fileno(), _MOST_OUTPUT_BYTES, deadline)  # type: ignore[union-attr]  # it is a pipe
            process.wait(max(0, deadline - monotonic()))
        finally:
            process.kill()
    if process.returncode:
        raise ValueError(f"the exit code is {process.returncode}")
    return json.loads(output)


def _probe(path: Path) -> tuple[Interpreter | None, str]:
    """Return the interpreter at *path*, or ``None`` if it is not a usable CPython; and a description for messages."""
    import subprocess

    try:
        told = ask(path, _PROBE)
        major, minor, micro = told["version"]
        version = int(major), int(minor), int(micro)
        usable = bool(told["cpython"]) and not told["threaded"]
        interpreter = Interpreter(path=Path(told["path"]), version=version, magic=str(told["magic"]))
    except (OSError, subprocess.SubprocessError, *INVALID) as error:
        from lamina.core.faults import exhausted

        if (found := exhausted(error)) is not None:
            raise found from error
        return None, "missing or not a working Python interpreter"
    kind = "CPython" if told["cpython"] else "non-CPython Python"
    description = f"{'free-threaded ' if told['threaded'] else ''}{kind} {'.'.join(map(str, version))}"
    return (interpreter if usable else None), description


def _recall(cache: Path | None, key: str) -> Interpreter | None:
    """Return the interpreter in *cache* under *key*, or ``None`` if there is none or its executable has changed."""
    try:
        row = _rows(cache)[key]
        major, minor, micro = row["version"]
        path = Path(row["path"])
        if row["stamp"] != _stamp(path):
            return None
        return Interpreter(path=path, version=(int(major), int(minor), int(micro)), magic=str(row["magic"]))
    except (OSError, *INVALID):
        # Nothing is known, or the executable is gone: search again.
        return None


def _rows(cache: Path | None) -> dict[str, Any]:
    """Return the results in *cache*; none if there is no such file or it is damaged."""
    try:
        return open_sealed((read_bounded(cache) if cache else None) or b"", CACHE)
    except INVALID:
        return {}


def _remember(cache: Path, key: str, interpreter: Interpreter) -> None:
    """Write *interpreter* into *cache* under *key*, atomically. A concurrent write may lose other rows, which are found again."""
    from lamina.core.files import replace_file

    rows = _rows(cache) | {
        key: {
            "path": str(interpreter.path),
            "stamp": _stamp(interpreter.path),
            "version": list(interpreter.version),
            "magic": interpreter.magic,
        }
    }
    # Without the row, the next search only takes longer. A build reports a store that is not writable.
    with suppress(OSError):
        replace_file(cache, seal(rows, CACHE))


def _stamp(path: Path) -> list[int]:
    """Return the size in bytes and the modification time in nanoseconds, which change when the executable is replaced."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
