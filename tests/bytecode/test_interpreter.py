"""The search for interpreters: fake interpreters are small shell scripts, real ones are those of this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamina.bytecode import interpreter
from lamina.bytecode.interpreter import Interpreter
from lamina.core.documents import open_sealed
from lamina.core.errors import BytecodeError, ConfigError
from pythons import hide_interpreters

if TYPE_CHECKING:
    from collections.abc import Callable


def fake_python(
    path: Path, *, version: tuple[int, int, int], magic: str, cpython: bool = True, threaded: bool = False
) -> Path:
    """Write an executable that answers the probe and counts its starts in a file next to it."""
    answer = {"path": str(path), "version": list(version), "cpython": cpython, "threaded": threaded, "magic": magic}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho started >> '{path}.starts'\necho '{json.dumps(answer)}'\n")
    path.chmod(0o755)
    return path


def starts(path: Path) -> int:
    counter = Path(f"{path}.starts")
    return len(counter.read_text().splitlines()) if counter.exists() else 0


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set up an environment in which findpython only finds the files in the returned directory, which is on ``PATH``."""
    return hide_interpreters(tmp_path, monkeypatch)


@pytest.mark.parametrize("minor", [9, 10, 11, 12, 13, 14])
def test_magic_number_is_what_the_interpreter_says(
    installed_python: Callable[[tuple[int, int]], Interpreter], minor: int
) -> None:
    """The table of magic numbers matches every interpreter on this machine."""
    assert interpreter.magic_number((3, minor)) == installed_python((3, minor)).magic


def test_running_interpreter_is_found_by_its_own_name() -> None:
    """A specified interpreter of the right minor version is used, resolved to the file outside its virtual environment."""
    python = sys.version_info[:2]

    found = interpreter.find(python, explicit=Path(sys.executable))

    assert (sys.version_info[:3], Path(sys._base_executable).resolve()) == (found.version, found.path)  # type: ignore[attr-defined]


def test_unknown_minor_has_no_magic_number() -> None:
    """An unsupported minor version raises an error with a hint."""
    with pytest.raises(BytecodeError) as caught:
        interpreter.magic_number((3, 99))

    assert (
        "this version of lamina does not support bytecode for Python 3.99",
        'upgrade lamina, or set `bytecode = "none"`',
    ) == (str(caught.value), caught.value.hint)


def test_path_is_searched(bare: Path) -> None:
    """An interpreter on ``PATH`` is found."""
    path = fake_python(bare / "python3.13", version=(3, 13, 7), magic="f30d0d0a")

    assert Interpreter(path=path, version=(3, 13, 7), magic="f30d0d0a") == interpreter.find((3, 13))


def test_what_uv_manages_is_searched(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter installed by uv is found without running uv, and without starting other minor versions."""
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    other = fake_python(tmp_path / "uv/cpython-3.12.9-linux/bin/python3", version=(3, 12, 9), magic="cb0d0d0a")
    path = fake_python(tmp_path / "uv/cpython-3.13.7-linux/bin/python3", version=(3, 13, 7), magic="f30d0d0a")

    found = interpreter.find((3, 13))

    assert (path, 0) == (found.path, starts(other))


@pytest.mark.parametrize(
    ("programs", "how"),
    [
        (("uv", "pyenv"), "run `uv python install 3.13`, or add `--install-python` to your command"),
        (("beside/uv", "brew"), "add `--install-python` to your command, so that uv installs it"),
        (("pyenv", "brew"), "run `pyenv install 3.13`"),
        (("mise",), "run `mise install python@3.13`"),
        (("brew",), "run `brew install python@3.13`"),
        ((), "run `pip install uv && uv python install 3.13`"),
    ],
    ids=["uv", "uv of lamina", "pyenv", "mise", "brew", "nothing"],
)
def test_none_found_names_both_remedies(
    bare: Path, monkeypatch: pytest.MonkeyPatch, programs: tuple[str, ...], how: str
) -> None:
    """The error for a missing interpreter names the version, how to install it here, and how to build without it."""
    fake_python(bare / "python3.12", version=(3, 12, 9), magic="cb0d0d0a")
    monkeypatch.setattr(sys, "executable", str(bare / "beside" / "python"))
    for name in programs:
        (bare / name).parent.mkdir(exist_ok=True)
        (bare / name).touch(0o755)

    with pytest.raises(BytecodeError) as caught:
        interpreter.find((3, 13))

    assert (
        "no CPython 3.13 found on this machine to compile bytecode for the target",
        f'{how}; or set `LAMINA_PYTHON_3_13` to its executable, or set `bytecode = "none"`',
    ) == (str(caught.value), caught.value.hint)


@pytest.mark.parametrize(
    ("version", "magic", "cpython", "threaded"),
    [
        ((3, 13, 0), "f00d0d0a", True, False),
        ((3, 13, 7), "f30d0d0a", True, True),
        ((3, 13, 7), "f30d0d0a", False, False),
        ((3, 12, 9), "cb0d0d0a", True, False),
    ],
    ids=["pre-release", "free-threaded", "not CPython", "another minor"],
)
def test_wrong_magic_is_never_taken(
    bare: Path, version: tuple[int, int, int], magic: str, cpython: bool, threaded: bool
) -> None:
    """An interpreter whose bytecode differs from the release is skipped, regardless of its file name."""
    fake_python(bare / "python3.13", version=version, magic=magic, cpython=cpython, threaded=threaded)

    assert interpreter.search((3, 13)) is None


def test_variable_that_names_another_minor_is_an_error(bare: Path) -> None:
    """A specified interpreter of the wrong version raises an error, even if a suitable one is installed."""
    fake_python(bare / "python3.13", version=(3, 13, 7), magic="f30d0d0a")
    wrong = fake_python(bare / "mine", version=(3, 12, 9), magic="cb0d0d0a")

    with pytest.raises(ConfigError) as caught:
        interpreter.find((3, 13), environ={"LAMINA_PYTHON_3_13": str(wrong)})

    assert (
        f"`LAMINA_PYTHON_3_13` is set to `{wrong}`, which is CPython 3.12.9; "
        "lamina needs a release of CPython 3.13 that is not free-threaded"
    ) == str(caught.value)


def test_variable_that_names_no_interpreter_is_an_error(tmp_path: Path) -> None:
    """A specified path that does not exist raises an error."""
    with pytest.raises(ConfigError) as caught:
        interpreter.find((3, 13), explicit=tmp_path / "missing", environ={})

    assert (
        f"the specified interpreter is `{tmp_path / 'missing'}`, which is missing or not a working Python interpreter; "
        "lamina needs a release of CPython 3.13 that is not free-threaded"
    ) == str(caught.value)


def test_remembered_interpreter_is_not_started_again(bare: Path, tmp_path: Path) -> None:
    """The result is cached, so a build with no changes starts no interpreter."""
    path = fake_python(bare / "python3.13", version=(3, 13, 7), magic="f30d0d0a")
    cache = tmp_path / "store" / "interpreters.json"

    first = interpreter.find((3, 13), cache=cache)
    second = interpreter.find((3, 13), cache=cache)

    assert (first, 1) == (second, starts(path))


def test_replaced_interpreter_is_asked_again(bare: Path, tmp_path: Path) -> None:
    """A cached result is valid until the executable changes."""
    cache = tmp_path / "interpreters.json"
    interpreter.find((3, 13), explicit=fake_python(bare / "p", version=(3, 13, 7), magic="f30d0d0a"), cache=cache)
    fake_python(bare / "p", version=(3, 13, 10), magic="f30d0d0a")

    found = interpreter.find((3, 13), explicit=bare / "p", cache=cache)

    assert (3, 13, 10) == found.version


def test_link_that_names_another_interpreter_now(bare: Path, tmp_path: Path) -> None:
    """A symbolic link such as ``current`` is resolved on each search, because its target can change."""
    cache, link = tmp_path / "interpreters.json", tmp_path / "current"
    link.symlink_to(fake_python(bare / "old", version=(3, 13, 7), magic="f30d0d0a"))
    interpreter.find((3, 13), explicit=link, cache=cache)
    link.unlink()
    link.symlink_to(fake_python(bare / "new", version=(3, 13, 10), magic="f30d0d0a"))

    assert (3, 13, 10) == interpreter.find((3, 13), explicit=link, cache=cache).version


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"3.13": {"path": 1}}', b"\xff"])
def test_damaged_cache_is_no_obstacle(bare: Path, tmp_path: Path, content: bytes) -> None:
    """An unreadable cache is replaced."""
    fake_python(bare / "python3.13", version=(3, 13, 7), magic="f30d0d0a")
    cache = tmp_path / "interpreters.json"
    cache.write_bytes(content)

    interpreter.find((3, 13), cache=cache)

    assert {"3.13"} == set(open_sealed(cache.read_bytes(), interpreter.CACHE))


def test_cache_that_cannot_be_written(bare: Path, tmp_path: Path) -> None:
    """A store that is not writable is no obstacle: every search starts the interpreter."""
    path = fake_python(bare / "python3.13", version=(3, 13, 7), magic="f30d0d0a")
    (tmp_path / "file").touch()
    cache = tmp_path / "file" / "store" / "interpreters.json"

    first = interpreter.find((3, 13), cache=cache)

    assert first == interpreter.find((3, 13), cache=cache)
    assert 2 == starts(path)
