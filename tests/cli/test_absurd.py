"""Files that are nested or long beyond all use end in an error with the file, quickly, and never as a bug of lamina."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lamina.cli.main import main
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

MANY = 100_000
NESTED = {
    "dots": ".".join("a" * MANY) + " = 1\n",
    "header": "[" + ".".join("a" * MANY) + "]\n",
    "arrays": f"a = {'[' * MANY}{']' * MANY}\n",
    "tables": f"a = {'{a=' * MANY}1{'}' * MANY}\n",
}


@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("pyproject.toml", "build"),
        ("lamina.toml", "build"),
        ("pylock.toml", "build"),
        ("uv.lock", "build"),
        ("poetry.lock", "build"),
        ("pdm.lock", "build"),
        ("pyproject.toml", "init"),
        ("uv.toml", "build"),
    ],
)
def test_nested_toml(
    *,
    name: str,
    command: str,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A TOML file with 100,000 levels is reported by name: with dots, `tomllib` would need minutes."""
    service = make_service(tmp_path)
    monkeypatch.chdir(service.write())
    if name != "pyproject.toml":
        (service.root / "pylock.toml").unlink()
    if name == "uv.toml":
        monkeypatch.delenv("UV_NO_CONFIG")
        (service.root / "requirements.txt").write_text(f"alpha==1.0 --hash=sha256:{'0' * 64}\n")
    if name == "lamina.toml":
        (service.root / "pyproject.toml").unlink()
    (service.root / name).write_text(
        NESTED[kind] + ('[tool.lamina]\nruntime = "python3.13"\n' if name == "pyproject.toml" else "")
    )
    code = main([command])
    err = capsys.readouterr().err

    assert code in {2, 3}
    assert name in err
    assert "nested too deeply" in err or "is not valid TOML" in err


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_nested_json(
    opening: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So is a Pipfile.lock with 100,000 levels."""
    service = make_service(tmp_path)
    monkeypatch.chdir(service.write())
    (service.root / "pylock.toml").unlink()
    (service.root / "Pipfile.lock").write_text(opening * MANY)

    assert 3 == main(["build"])
    assert "Pipfile.lock` is nested too deeply" in capsys.readouterr().err


@pytest.mark.parametrize(
    "code",
    [
        f"x = {'-' * MANY}1\n",
        f"x = a{'.a' * MANY}\n",
        f"x = 1{'+1' * MANY}\n",
        f"x = a{'()' * MANY}\n",
        "if x: pass\n" + "elif x: pass\n" * MANY,
    ],
    ids=["minus", "attributes", "plus", "calls", "elif"],
)
def test_a_handler_that_python_cannot_parse(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A handler's module that is nested too deeply for Python is reported with its function."""
    service = make_service(tmp_path)
    monkeypatch.chdir(service.write())
    (service.root / "service" / "handlers" / "hello.py").write_text(f"{code}def lambda_handler(event, context): ...\n")

    assert 5 == main(["build"])
    assert "`hello`: `service/handlers/hello.py` is nested too deeply for Python" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "value", "fact"),
    [
        ("lock", json.dumps("a" * 5000), "longer than 4,096 characters"),
        ("lock", json.dumps("a" * 300), "longer than 255 bytes between two slashes"),
        ("lock", json.dumps("a/" * 100), "more than 64 directories"),
        ("lock", '"a\\u0000b"', "null character"),
        ("source", json.dumps(["a" * 5000]), "more than 4,096 characters"),
        ("source", json.dumps(["ä" * 150]), "longer than 255 bytes between two slashes"),
        ("source", '["a\\u0000b"]', "null character"),
        ("include", json.dumps(["**/" * 1000 + "x"]), "more than 64 directories"),
        ("groups", json.dumps(["a" * MANY]), "more than 4,096 characters"),
        ("runtime", json.dumps("p" * MANY), "longer than 4,096 characters"),
        ("k" * 10_000, "1", "a key is longer than 255 characters"),
    ],
)
def test_a_long_value(
    *,
    key: str,
    value: str,
    fact: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A value that is too long for any use is a mistake, and is not quoted in full."""
    service = make_service(tmp_path)
    service.settings[key] = value
    monkeypatch.chdir(service.write())
    code = main(["build"])
    err = capsys.readouterr().err

    assert 2 == code
    assert fact in err
    assert len(err) < 2000


@pytest.mark.parametrize(
    "content",
    ["-r /dev/zero\n", "-r a\0b\n", "./a\0b\n", "-r r0.txt\n", f"-r {'a' * 5000}\n"],
    ids=["device", "null", "null-path", "chain", "long"],
)
def test_absurd_requirements(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A requirements file that includes a device, a path that no file can have, or a thousand files, is an error about a lock."""
    service = make_service(tmp_path)
    monkeypatch.chdir(service.write())
    (service.root / "pylock.toml").unlink()
    (service.root / "requirements.txt").write_text(content)
    for number in range(1000):
        (service.root / f"r{number}.txt").write_text(f"-r r{number + 1}.txt\n")

    assert 3 == main(["build"])
    assert "is not a valid requirements file" in capsys.readouterr().err


def test_a_chain_of_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Dependency groups that include each other a thousand times are an error of the configuration."""
    service = make_service(tmp_path)
    monkeypatch.chdir(service.write())
    with (service.root / "pyproject.toml").open("a") as file:
        file.write(
            "[dependency-groups]\n" + "".join(f'g{n} = [{{ include-group = "g{n + 1}" }}]\n' for n in range(1500))
        )
        file.write("g1500 = []\n")

    assert 2 == main(["build"])
    assert "over more than 100 groups" in capsys.readouterr().err
