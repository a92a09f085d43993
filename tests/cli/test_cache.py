from __future__ import annotations

import json
from pathlib import Path

import pytest

from lamina.cli.main import main
from lamina.core.store import Store
from lamina.core.values import Sha256


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return a store with one damaged wheel and one index response."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    store = Store.open()
    wheel = store.wheel_destination(Sha256("ab" * 32), "a-1.0-py3-none-any.whl")
    for path, content in ((wheel, bytes(2_500_000)), (store.entry("index", "cd" * 32, ".json"), b"[]")):
        with store.writing(path) as file:
            file.write(content)
    return store


WHEEL = Path("wheels", "ab", "ab" * 32, "a-1.0-py3-none-any.whl").as_posix()


def test_size(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """`size` shows the files and the size of each area, and the total."""
    code = main(["cache", "size"])

    assert code == 0
    assert capsys.readouterr().out == (
        "index              1 file         0.0 kB\n"
        "wheels             1 file        2.50 MB\n"
        f"total              2 files       2.50 MB  {store.root}\n"
    )


def test_size_as_json(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """`size --json` reports sizes in bytes and has a version."""
    code = main(["cache", "size", "--json"])

    assert code == 0
    assert json.loads(capsys.readouterr().out) == {
        "version": "1",
        "path": str(store.root),
        "bytes": 2_500_002,
        "areas": [{"name": "index", "files": 1, "bytes": 2}, {"name": "wheels", "files": 1, "bytes": 2_500_000}],
    }


def test_verify(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """`verify` removes damaged files and exits with 1; a second run finds none and exits with 0."""
    store.write_document(store.entry("index", "cd" * 32, ".json"), {"files": []})
    first = main(["cache", "verify"])
    said = capsys.readouterr().out
    second = main(["cache", "verify"])

    assert (1, 0) == (first, second)
    assert said.startswith(f"removed `{WHEEL}`: its SHA-256 is ")
    assert capsys.readouterr() == ("", f"no damaged files in {store.root}\n")


def test_verify_as_json(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """`verify --json` lists each removed file and the reason."""
    store.write_document(store.entry("index", "cd" * 32, ".json"), {"files": []})
    code = main(["cache", "verify", "--json"])
    report = json.loads(capsys.readouterr().out)

    assert code == 1
    assert [WHEEL] == [row["path"] for row in report["removed"]]
    assert ("1", str(store.root)) == (report["version"], report["path"])


def test_clean(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """`clean` only counts files in a dry run, keeps recent files with `--older-than`, and otherwise removes all files."""
    codes = [
        main(["cache", "clean", "--dry-run"]),
        main(["cache", "clean", "--older-than", "1"]),
        main(["cache", "clean"]),
    ]

    assert codes == [0, 0, 0]
    assert capsys.readouterr().out == (
        f"would remove 2 files (2.50 MB) from {store.root}\n"
        f"removed 0 files (0.0 kB) from {store.root}\n"
        f"removed 2 files (2.50 MB) from {store.root}\n"
    )


def test_clean_as_json(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """`clean --json` reports the number of removed files and their size in bytes."""
    code = main(["cache", "clean", "--json"])

    assert code == 0
    assert json.loads(capsys.readouterr().out) == {
        "version": "1",
        "path": str(store.root),
        "files": 2,
        "bytes": 2_500_002,
        "dry_run": False,
    }


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("arguments", [["size", "--dry-run"], ["verify", "--older-than", "3"]])
def test_options_of_another_action(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """An option of `clean` is a usage error with another action."""
    code = main(["cache", *arguments])

    assert code == 2
    assert (
        capsys.readouterr().err
        == f"error: `--older-than` and `--dry-run` need the action `clean`\n\nhint: run `lamina cache {arguments[0]}` without these options\n"
    )


@pytest.mark.parametrize("days", ["-1", "nan", "inf", "month"])
def test_days_that_are_none(capsys: pytest.CaptureFixture[str], days: str) -> None:
    """`--older-than` accepts only a finite number of days that is not negative."""
    code = main(["cache", "clean", f"--older-than={days}"])

    assert code == 2
    assert capsys.readouterr().err.startswith(
        f"error: `--older-than`: `{days}` is not a valid number of days: expected at least 0\n"
    )
