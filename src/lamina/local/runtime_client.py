"""
Provide ``/var/runtime``: Lambda's runtime client for Python, copied from lamina's own Python environment, and wheels such as the AWS SDK.

Only the client's Python modules are copied. `guest.runtime_client` replaces its compiled module, which works with only one Python version.
Functions cannot write to the directory, so the modules are compiled in advance; Lambda's own runtime also includes bytecode.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.bytecode.interpreter import environment_variable
from lamina.core.errors import CorruptArchiveError, InvokeError, MissingExtraError
from lamina.core.faults import exhausted
from lamina.core.files import file_sha256
from lamina.local.facts import facts
from lamina.local.unpack import is_own_directory, making, unzip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.bytecode.interpreter import Interpreter
    from lamina.core.values import Wheel

# The client's distribution and those that it imports.
_DISTRIBUTIONS = ("awslambdaric", "simplejson", "snapshot-restore-py")
_COMPILE_SECONDS = 60
_GUESTS = ("bootstrap.py", "runtime_client.py")


def provide(cache: Path, interpreter: Interpreter, wheels: Sequence[Wheel] = ()) -> Path:
    """
    Return a directory inside *cache* with the runtime client, the contents of *wheels*, and their bytecode for *interpreter*.

    An existing directory is reused. Raises `MissingExtraError` if lamina's environment does not contain the client, `ArchiveError` if a
    wheel is damaged or cannot be unpacked, and `InvokeError` if *interpreter* fails to compile the modules.
    """
    files = _files()
    key = hashlib.sha256(interpreter.magic.encode())
    for name, path in files:
        key.update(f"{name}\0{file_sha256(path)}\n".encode())
    for wheel in wheels:
        key.update(f"{wheel.pin.sha256}\n".encode())
    directory = cache / key.hexdigest()
    if not is_own_directory(directory):
        with making(directory) as temporary:
            for name, path in files:
                destination = temporary / name
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, destination)
                destination.chmod(0o444)
            for wheel in wheels:
                _unzip(wheel, temporary)
            _compile(temporary, interpreter)
    return directory


def _unzip(wheel: Wheel, directory: Path) -> None:
    try:
        with wheel.path.open("rb") as stream:
            unzip(stream, directory, name=wheel.pin.filename)
    except CorruptArchiveError as error:
        raise CorruptArchiveError(
            f"`{wheel.pin.filename}` in the store is damaged",
            hint="delete damaged files from the store: run `lamina cache verify`, then run the command again",
        ) from error


def _compile(directory: Path, interpreter: Interpreter) -> None:
    """Compile the modules to bytecode that Python does not compare with the sources. Raises `InvokeError` if *interpreter* fails."""
    command = [str(interpreter.path), "-I", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    try:
        # `-s` and `-p` replace the path in the bytecode, so that tracebacks show the path inside the function's environment.
        subprocess.run(
            [*command, "-s", str(directory), "-p", facts().directories.runtime, str(directory)],
            capture_output=True,
            check=True,
            stdin=subprocess.DEVNULL,
            timeout=_COMPILE_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise exhausted(error) or InvokeError(
            f"the interpreter `{interpreter.path}` failed to compile the runtime client",
            hint=f"set `{environment_variable(interpreter.version[:2])}` to another interpreter",
        ) from error


def _files() -> list[tuple[str, Path]]:
    """Return the path in ``/var/runtime`` and the source file of each Python module to copy, sorted by path. Tests are left out."""
    found = [(name, Path(__file__).parent / "guest" / name) for name in _GUESTS]
    for name in _DISTRIBUTIONS:
        try:
            installed = distribution(name)
        except PackageNotFoundError as error:
            raise MissingExtraError(extra="local", purpose="running a handler locally") from error
        found += [
            (entry.as_posix(), Path(str(installed.locate_file(entry))))
            for entry in installed.files or ()
            if entry.suffix == ".py" and ".." not in entry.parts and "tests" not in entry.parts
        ]
    return sorted(found)
