"""What git tells about the deploys of a year, and which distributions changed together."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from lamina.advise import history
from lamina.advise.history import History, read_history
from lamina.core.store import Store
from lamina.core.values import DirectorySource, Sha256, SourcePin
from lamina.pipeline.context import BuildContext
from lamina.project import config
from lamina.project.options import BuildOptions
from sourceprojects import git

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NOW = dt.datetime.now(dt.UTC)
_CONFIGURATION = """\
[project]
name = "shop"
version = "1"
requires-python = ">=3.13"
[tool.lamina]
runtime = "python3.13"
source = ["shop"]
functions = { one = "shop.one.handler" }
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Return the directory of a service in git, whose lock file is new."""
    project = tmp_path / "shop"
    (project / "shop").mkdir(parents=True)
    (project / "pyproject.toml").write_text(_CONFIGURATION)
    (project / "shop/one.py").write_text("")
    git(project, "init", "--quiet", "--initial-branch", "main")
    _lock(project, a="1", b="1", c="1")
    return project


def _lock(project: Path, **versions: str) -> None:
    lines = (f"{name}=={version}\n" for name, version in versions.items())
    _commit(project, "requirements.txt", "".join(lines))


def _commit(project: Path, name: str, content: str, *options: str) -> None:
    (project / name).parent.mkdir(parents=True, exist_ok=True)
    (project / name).write_text(content)
    git(project, "add", "--all")
    git(project, *options, "commit", "--quiet", "--message", name)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., History]:
    """Return a function that reads the history of a project with the distributions a, b and c."""

    def read(project: Path, *local: SourcePin, now: dt.datetime = _NOW, offline: bool = False) -> History:
        context = BuildContext.open(project, BuildOptions(offline=offline), store=Store.open(tmp_path / "store"))
        return read_history(config.load(project), context, "abc", local=local, now=now)

    return read


def _numbers(found: History) -> tuple[int | None, int | None]:
    return found.edits_per_year, found.bumps_per_year


def test_updates(shop: Path, read: Callable[..., History]) -> None:
    """Only what changes distributions of today is an update; neither the first lock file nor another text of the same versions is."""
    assert (read(shop).revisions, _numbers(read(shop))) == (0, (0, 0))
    _lock(shop, a="2", b="1", c="1", other="1")
    _commit(shop, "requirements.txt", "# sorted\na==2\nb==1\nc==1\nother==2\n")
    _lock(shop, a="3", b="2", c="1")

    found = read(shop)

    assert found.bumps == (frozenset("ab"), frozenset("a"))
    assert (found.revisions, found.unknown, _numbers(found)) == (2, None, (0, 2))


def test_edits(shop: Path, read: Callable[..., History]) -> None:
    """A commit of the service's sources is an edit, and one of a local package in its functions; others are none."""
    library = shop / "library"
    source = DirectorySource(name="library", version="1", path=library)
    local = SourcePin(
        name="library",
        version="1",
        filename="library (local)",
        url="",
        size=None,
        sha256=Sha256("0" * 64),
        source=source,
    )
    for name in ("shop/one.py", "library/library.py", "README.md", "library/library.py"):
        _commit(shop, name, f"{len(git(shop, 'log', '--format=%H'))}")

    assert read(shop, local).edits_per_year == 3
    assert read(shop).edits_per_year == 1


def test_old_changes(shop: Path, read: Callable[..., History]) -> None:
    """Deploys are those of the last year, and updates those of the last three years."""
    _lock(shop, a="2", b="1", c="1")
    _commit(shop, "shop/one.py", "EDITED = True\n")

    later = read(shop, now=_NOW + dt.timedelta(days=366))
    assert (later.revisions, _numbers(later)) == (1, (0, 0))
    assert read(shop, now=_NOW + dt.timedelta(days=1100)).revisions == 0


def test_more_changes_than_are_read(shop: Path, read: Callable[..., History], monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes beyond the number that is read count as deploys."""
    monkeypatch.setattr(history, "MOST_REVISIONS", 2)
    for version in "234":
        _lock(shop, a=version, b="1", c="1")

    found = read(shop)

    assert (found.revisions, found.bumps_per_year) == (2, 3)


def test_shallow_clones(shop: Path, read: Callable[..., History], tmp_path: Path) -> None:
    """A shallow clone knows no deploys, and says why."""
    _lock(shop, a="2", b="1", c="1")
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{shop}", "clone")

    found = read(tmp_path / "clone")

    assert (found.revisions, _numbers(found)) == (0, (None, None))
    assert found.unknown == "the clone is shallow; run `git fetch --unshallow`"


def test_lock_files_that_are_not_committed(shop: Path, read: Callable[..., History]) -> None:
    """Git knows nothing about a lock file that it does not have."""
    git(shop, "rm", "--quiet", "--cached", "requirements.txt")
    git(shop, "commit", "--quiet", "--message", "Remove")

    found = read(shop)

    assert (_numbers(found), found.unknown) == ((None, None), "git has no commit with the lock file")


def test_unreadable_lock_files(shop: Path, read: Callable[..., History], tmp_path: Path) -> None:
    """
    A lock file that a partial clone lacks is no empty one, and nothing of it is kept.

    Once git has the file, the same store has its versions.
    """
    for version in "23":
        _lock(shop, a=version, b="1", c="1")
    git(shop, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", f"file://{shop}", "clone")
    shop.rename(tmp_path / "away")
    found = read(tmp_path / "clone")
    assert (found.revisions, found.bumps_per_year) == (0, 2)

    (tmp_path / "away").rename(shop)
    assert read(tmp_path / "clone", offline=True).revisions == 0
    assert read(tmp_path / "clone").bumps == (frozenset("a"),) * 2


def test_settings_of_the_user(shop: Path, read: Callable[..., History], tmp_path: Path) -> None:
    """What the user has configured for `git log` does not change what is read."""
    signer = tmp_path / "signer"
    signer.write_text(
        '#!/bin/sh\ncat >/dev/null\ncase "$*" in\n*--verify*) echo "gpg: Good signature" >&2 ;;\n'
        '*) echo "[GNUPG:] SIG_CREATED " >&2; printf -- "-----BEGIN PGP SIGNATURE-----\\n\\nx\\n-----END PGP SIGNATURE-----\\n" ;;\nesac\n'
    )
    signer.chmod(0o755)
    git(shop, "config", "gpg.program", str(signer))
    settings = {
        "log.showSignature": "true",
        "log.follow": "true",
        "log.showRoot": "false",
        "color.ui": "always",
        "diff.renames": "copies",
        "commit.gpgSign": "true",
    }
    for name, value in settings.items():
        git(shop, "config", name, value)
    _lock(shop, a="2", b="1", c="1")
    assert "gpg: Good signature" in git(shop, "log", "-1")

    assert (read(shop).bumps, _numbers(read(shop))) == ((frozenset("a"),), (0, 1))
