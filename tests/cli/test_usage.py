"""Mistakes in the command line: unknown commands and options, missing directories, and failures as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lamina.cli.main import COMMANDS, main

if TYPE_CHECKING:
    from pathlib import Path

_OF_BUILD = "use `lamina build [OPTIONS]`; list the options: `lamina build --help`"
_OF_LAMINA = "list the commands: `lamina --help`"
_OF_CACHE = (
    "use `lamina cache [OPTIONS] {size,verify,clean,export,import} [FILE]`; list the options: `lamina cache --help`"
)
_OF_POLICY = "use `lamina policy [OPTIONS] {layers}`; list the options: `lamina policy --help`"
_ACTIONS = "`size`, `verify`, `clean`, `export` or `import`"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("biuld --json", "unknown command `biuld` (did you mean `build`?)", _OF_LAMINA),
        ("cold-start", "unknown command `cold-start` (did you mean `coldstart`?)", _OF_LAMINA),
        ("help biuld", "unknown command `biuld` (did you mean `build`?)", _OF_LAMINA),
        ("hlep", "unknown command `hlep` (did you mean `help`?)", _OF_LAMINA),
        ("build --dryrun", "unknown option `--dryrun` (did you mean `--dry-run`?)", _OF_BUILD),
        ("build --grop=a -z", "unknown option `--grop` (did you mean `--group`?); unknown option `-z`", _OF_BUILD),
        ("build --grop dev", "unknown option `--grop` (did you mean `--group`?)", _OF_BUILD),
        ("build services/a", "unexpected argument `services/a`", _OF_BUILD),
        ("build --group", "`--group` needs a value", _OF_BUILD),
        ("build --offline=1", "`--offline` does not accept a value, got '1'", _OF_BUILD),
        ("build --quiet -v", "`--verbose` is not allowed with `--quiet`", _OF_BUILD),
        ("cache", f"missing argument: `action` ({_ACTIONS})", _OF_CACHE),
        ("policy", "missing argument: `kind` (`layers`)", _OF_POLICY),
        (
            "policy layer",
            "invalid value `layer` for `kind` (did you mean `layers`?): expected `layers`",
            _OF_POLICY,
        ),
        (
            "cache sizes",
            f"invalid value `sizes` for `action` (did you mean `size`?): expected {_ACTIONS}",
            _OF_CACHE,
        ),
        (
            "cache clean --older-than x",
            "`--older-than`: `x` is not a valid number of days: expected at least 0",
            _OF_CACHE,
        ),
        (
            "--verion",
            "unknown option `--verion` (did you mean `--version`?)",
            f"use `lamina COMMAND [OPTIONS]`; {_OF_LAMINA}",
        ),
        ("-v build", "option `-v` must follow the command", "run `lamina build -v`"),
        (
            "--project a run -- ls -l",
            "option `--project` must follow the command",
            "run `lamina run --project a -- ls -l`",
        ),
    ],
)
def test_a_mistake_names_the_nearest_spelling_and_the_commands_usage(
    words: str, message: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the mistake and what resembles it, and the hint has the usage of the command that was meant."""
    code = main(words.split())

    said = capsys.readouterr()
    assert 2 == code
    assert f"error: {message}\n\nhint: {hint}\n" == said.err


def test_a_mistake_with_verbose_has_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """A mistake in the arguments says nothing about lamina's code."""
    main(["build", "--dryrun", "--verbose"])

    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`lamina help COMMAND` prints what `lamina COMMAND --help` prints."""
    codes = main(["help", command]), main([command, "--help"])

    first, second = capsys.readouterr().out.split("usage: ")[1:]
    assert (0, 0) == codes
    assert first == second
    assert first.startswith(f"lamina {command} ")


@pytest.mark.parametrize("words", [["help"], ["help", "help"], ["--help"], ["-h"]])
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """`lamina help` prints what `lamina --help` prints: the list of commands."""
    code = main(words)

    said = capsys.readouterr()
    assert 0 == code
    assert set(COMMANDS) <= set(said.out.split())
    assert "" == said.err


@pytest.mark.parametrize(
    "command", ["build", "run -- ls", "invoke f", "publish", "init", "sandbox -- ls", "cache size"]
)
def test_a_directory_that_does_not_exist(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command says that the directory of `--project` does not exist, and names one that resembles it."""
    (tmp_path / "orders").mkdir()
    monkeypatch.chdir(tmp_path)
    name, *words = command.split()
    code = main([name, "--project", "order", *words])

    assert 2 == code
    assert (
        "error: the directory `order` of `--project` does not exist (did you mean `orders`?)\n\n"
        f"hint: check the path: it starts at the current directory, `{tmp_path}`\n"
    ) == capsys.readouterr().err


def test_a_file_in_place_of_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--project` with a file says so, and the hint has the file's directory."""
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    code = main(["build", "--project", "pyproject.toml"])

    assert 2 == code
    assert (
        "error: `--project` needs a directory, and `pyproject.toml` is a file\n\nhint: use `--project .`\n"
    ) == capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    ["build", "build --dry-run", "invoke f", "run -- ls", "coldstart", "publish", "deploy", "prune", "cache sizes"],
)
def test_a_failure_as_json(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `--json`, a command that fails prints the error as JSON to stdout; exit code and stderr stay the same."""
    monkeypatch.chdir(tmp_path)
    name, *words = command.split()
    plain = main([name, *words])
    told = capsys.readouterr().err
    code = main([name, "--json", *words])

    said = capsys.readouterr()
    report = json.loads(said.out)
    error = report["error"]
    hint = f"\n\nhint: {error['hint']}" if error["hint"] else ""
    assert {"version": "1", "error": error} == report
    assert {"kind", "message", "hint", "exit_code"} == set(error)
    assert (code, f"error: {error['message']}{hint}\n") == (error["exit_code"], said.err)
    if name != "run":  # It rejects `--json` itself.
        assert (plain, told) == (code, said.err)


def test_json_of_another_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A `--json` after `--` belongs to the program that lamina runs."""
    monkeypatch.chdir(tmp_path)
    code = main(["run", "--", "ls", "--json"])

    assert (2, "") == (code, capsys.readouterr().out)
