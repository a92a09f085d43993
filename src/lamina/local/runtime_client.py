"""
Provide ``/var/runtime``: Lambda's own runtime client for Python, as it is installed beside lamina.

Only its Python is taken. Its compiled transport fits one interpreter, so `guest.runtime_client` stands in for it. The directory is
read-only to the function, so its bytecode is made beforehand: Lambda's own runtime has its bytecode, too.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.bytecode.interpreter import environment_variable
from lamina.core.errors import InvokeError, MissingExtraError
from lamina.core.files import file_sha256
from lamina.local.facts import facts
from lamina.local.unpack import making

if TYPE_CHECKING:
    from lamina.bytecode.interpreter import Interpreter

# The client and what it imports, by distribution name.
_DISTRIBUTIONS = ("awslambdaric", "simplejson", "snapshot-restore-py")
_COMPILE_SECONDS = 60
_GUESTS = ("bootstrap.py", "runtime_client.py")


def provide(cache: Path, interpreter: Interpreter) -> Path:
    """
    Return a directory inside *cache* that holds the runtime client and its bytecode for *interpreter*, made if it is not there.

    Raises MissingExtraError if the client is not installed beside lamina, InvokeError if *interpreter* cannot compile it.
    """
    files = _files()
    key = hashlib.sha256(interpreter.magic.encode())
    for name, path in files:
        key.update(f"{name}\0{file_sha256(path)}\n".encode())
    directory = cache / key.hexdigest()
    if not directory.is_dir():
        with making(directory) as temporary:
            for name, path in files:
                destination = temporary / name
                destination.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, destination)
                destination.chmod(0o444)
            _compile(temporary, interpreter)
    return directory


def _compile(directory: Path, interpreter: Interpreter) -> None:
    """Write bytecode that is never compared with its source, whose time means nothing here."""
    command = [str(interpreter.path), "-I", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    try:
        # Tracebacks name the files where the function sees them.
        subprocess.run(
            [*command, "-s", str(directory), "-p", facts().directories.runtime, str(directory)],
            capture_output=True,
            check=True,
            stdin=subprocess.DEVNULL,
            timeout=_COMPILE_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise InvokeError(
            f"The runtime client cannot be compiled by `{interpreter.path}`",
            hint=f"name another interpreter in `{environment_variable(interpreter.version[:2])}`",
        ) from error


def _files() -> list[tuple[str, Path]]:
    """List the client's modules as relative path and file, sorted; tests and compiled modules stay behind."""
    found = [(name, Path(__file__).parent / "guest" / name) for name in _GUESTS]
    for name in _DISTRIBUTIONS:
        try:
            installed = distribution(name)
        except PackageNotFoundError as error:
            raise MissingExtraError(extra="local", purpose="Running a handler locally") from error
        found += [
            (entry.as_posix(), Path(str(installed.locate_file(entry))))
            for entry in installed.files or ()
            if entry.suffix == ".py" and ".." not in entry.parts and "tests" not in entry.parts
        ]
    return sorted(found)
