"""A lock file that no reader can read is named with the reason, and with commands that make it again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import LaminaError, LockSyntaxError
from lamina.core.store import Store
from lamina.lock import formats
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [name for name in formats.READERS if name != "requirements.txt"]
CONFLICT = b"<<<<<<< HEAD\nversion = 1\n=======\nversion = 2\n>>>>>>> main\n"


def failure(directory: Path, name: str, content: bytes | None, *, is_directory: bool = False) -> LaminaError:
    """Return the error of a build whose lock file has *content*; without, it is a directory or a named pipe."""
    project = make_service(directory).write()
    path = project / name
    path.unlink(missing_ok=True)
    (project / "pylock.toml").unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    elif is_directory:
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(LaminaError) as caught:
        build(project, BuildOptions(), store=Store.open(directory / "store"))
    return caught.value


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("content", "is_directory", "reason"),
    [
        (None, False, "Not a regular file"),
        (None, True, "Is a directory"),
        (b"\n", False, "is empty"),
        ("version = 1\n".encode("utf-16"), False, "is UTF-16: save it as UTF-8"),
        (b"{[", False, "cannot read"),
    ],
    ids=["pipe", "directory", "empty", "UTF-16", "invalid"],
)
def test_the_hint_makes_a_new_lock(
    content: bytes | None, is_directory: bool, reason: str, name: str, tmp_path: Path
) -> None:
    """An unreadable lock has nothing to keep, and lockers refuse to read it too: it is removed first."""
    error = failure(tmp_path, name, content, is_directory=is_directory)

    assert isinstance(error, LockSyntaxError)
    assert reason in str(error)
    assert f"/{name}`" in str(error)
    assert "Errno" not in str(error)
    assert f"run `{'rm -r' if is_directory else 'rm'} " in (error.hint or "")
    assert "regenerate the lock: " in (error.hint or "")


@pytest.mark.parametrize("name", formats.READERS)
def test_conflict_markers_are_named(name: str, tmp_path: Path) -> None:
    """What a merge left in a lock is told from a damaged file."""
    error = failure(tmp_path, name, b"# lock\n" + CONFLICT)

    assert isinstance(error, LockSyntaxError)
    assert "has the conflict markers of a merge, the first in line 2" in str(error)
    assert "run `" in (error.hint or "")


def test_a_file_that_holds_no_requirements_is_one_problem(tmp_path: Path) -> None:
    """`-r` of any other file is told once, however many lines it has, and nothing of it is shown."""
    (tmp_path / "greeter/.git").mkdir(parents=True)
    (tmp_path / "passwords").write_text("".join(f"user{number}:x:{number}:/bin/sh\n" for number in range(24)))
    error = failure(tmp_path, "requirements.txt", b"-r ../passwords\n")

    assert str(error).endswith(
        "a path (passwords:1) does not lead to a directory, wheel or source archive (and 23 more lines like it)"
    )
    assert "user" not in str(error)


def test_a_list_of_mistakes_has_an_end(tmp_path: Path) -> None:
    error = failure(tmp_path, "requirements.txt", "".join(f"not valid{n}\n" for n in range(1_000)).encode())

    assert str(error).endswith("requirements.txt:20: `not valid19` is not a valid requirement; and 980 more")
