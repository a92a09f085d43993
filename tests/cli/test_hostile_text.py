"""Whatever a project, a server or the command line contains, what lamina prints cannot control the terminal."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from lamina.cli.console import Console, emit, emit_json
from lamina.cli.main import main
from lamina.core.errors import LaminaError
from lamina.core.text import visible
from services import Service, make_service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ESCAPES = {
    "\x1b": "\\x1b",
    "\x07": "\\x07",
    "\x9b": "\\x9b",
    "\u202e": "\\u202e",
    "\u2066": "\\u2066",
    "\udcff": "\\udcff",
}
HOSTILE = "".join(ESCAPES)
# TOML cannot hold a surrogate; these are the escapes of its strings.
VALUE = json.dumps(f"x{HOSTILE[:-1]}\x7f")


def controls(text: str) -> str:
    """Return the characters of *text* that are not printable, except line breaks."""
    return "".join(each for each in text if not each.isprintable() and each != "\n")


@pytest.mark.parametrize("character", ESCAPES)
def test_a_character_is_shown_as_its_escape(character: str) -> None:
    """Each character becomes a visible escape sequence; text, line breaks and tabs are kept."""
    assert f"größe\t{ESCAPES[character]}\n漢字" == visible(f"größe\t{character}\n漢字")


def test_every_way_to_print_is_safe(capsys: pytest.CaptureFixture[str]) -> None:
    """Messages, errors, hints, findings, tables, stages, prompts and tracebacks go through the same function."""
    console = Console(verbose=True)
    console.say(HOSTILE)
    console.title(HOSTILE)
    console.aside(HOSTILE)
    console.note(HOSTILE)
    console.hint(HOSTILE)
    console.warn(HOSTILE, hint=HOSTILE)
    console.finding("error", HOSTILE)
    console.stage(HOSTILE)
    console.report(LaminaError(HOSTILE, hint=HOSTILE), as_json=True)
    console.trace(ValueError(HOSTILE))
    emit(HOSTILE)
    emit_json([HOSTILE, "\x7f"])
    out, err = capsys.readouterr()

    assert "" == controls(out + err)
    assert 12 == err.count("\\x1b\\x07")
    assert [HOSTILE, "\x7f"] == json.loads(out[out.rindex("[") :])


FORGED = "x\nerror: forged\n::error::forged\n  ::set-output name=x::forged"


def forged(text: str) -> list[str]:
    """Return the lines of *text* that names forged: those that look like a message of lamina or a command to GitHub Actions."""
    return [line for line in text.splitlines() if line.startswith("error: forged") or line.lstrip().startswith("::")]


def test_no_message_has_lines_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    """A line break in a name that a message quotes is shown as an escape; breaks that lamina indents stay."""
    console = Console(verbose=True)
    console.failure(LaminaError(f"2 errors\n  a: `{FORGED}`\n  b: c"))
    console.warn(FORGED)
    console.note(FORGED)
    console.finding("warning", FORGED)
    err = capsys.readouterr().err

    assert [] == forged(err)
    assert "error: 2 errors\n  a: `x\\nerror: forged\\n::error::forged\n" in err
    assert "\n  b: c\n" in err


def test_no_line_is_a_command_to_github_actions(capsys: pytest.CaptureFixture[str]) -> None:
    """Texts with line breaks of others, such as hints and tracebacks, keep them, but no line is a command of a workflow."""
    console = Console(verbose=True)
    console.hint(f"output of git:\n{FORGED}")
    console.say(FORGED)
    console.trace(ValueError(FORGED))
    emit("::add-mask::x ##[add-mask]x")
    emit_json("##[add-mask]x")
    out, err = capsys.readouterr()

    assert [] == [line for line in (out + err).splitlines() if line.lstrip().startswith("::")]
    assert '\\x3a:add-mask::x \\x23#[add-mask]x\n"\\u0023#[add-mask]x"\n' == out
    assert "##[add-mask]x" == json.loads(out.splitlines()[1])


@pytest.mark.parametrize("key", ["lock", "runtime", "source", "store", "bytecode", "groups", "architecture"])
def test_no_value_of_the_configuration_forges_a_line(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value that an error quotes adds no line to it."""
    service = make_service(tmp_path)
    value = json.dumps(FORGED)
    service.settings[key] = f"[{value}]" if key in {"source", "groups"} else value
    monkeypatch.chdir(service.write())
    main(["build", "-v"])
    out, err = capsys.readouterr()

    assert [] == forged(out + err)


def lacking(service: Service) -> list[str]:
    service.settings["lock"] = VALUE
    return ["build"]


def unknown_key(service: Service) -> list[str]:
    service.settings[VALUE] = VALUE
    return ["build"]


def runtime(service: Service) -> list[str]:
    service.settings["runtime"] = VALUE
    return ["build"]


def handler(service: Service) -> list[str]:
    service.functions = {VALUE: f"service.{VALUE[1:-1]}.handler"}
    return ["build"]


def source(service: Service) -> list[str]:
    service.settings["source"] = f"[{VALUE}]"
    return ["build"]


def group(service: Service) -> list[str]:
    service.settings["groups"] = f"[{VALUE}]"
    return ["build"]


def layer(service: Service) -> list[str]:
    service.more["hello"] = f"layers = [{VALUE}]"
    return ["build"]


def left_out(service: Service) -> list[str]:
    handlers = service.root / "service" / "handlers"
    handlers.mkdir(parents=True)
    for name in (".env\x1b]0;x\x07", ".env\u202e"):
        (handlers / name).write_text("")
    # Some file systems refuse names that are not UTF-8.
    with contextlib.suppress(OSError):
        (handlers / os.fsdecode(b".env\xff")).write_text("")
    return ["build", "-v"]


def function_argument(_: Service) -> list[str]:
    return ["invoke", HOSTILE]


def command(_: Service) -> list[str]:
    return [HOSTILE]


def option(_: Service) -> list[str]:
    return ["build", f"--{HOSTILE}"]


def option_value(_: Service) -> list[str]:
    return ["build", "--architecture", HOSTILE]


def directory(_: Service) -> list[str]:
    return ["build", "--project", HOSTILE]


def verbose_failure(service: Service) -> list[str]:
    service.settings["runtime"] = VALUE
    return ["build", "-v"]


def as_json(service: Service) -> list[str]:
    service.settings["runtime"] = VALUE
    return ["build", "--json"]


@pytest.mark.parametrize(
    "prepare",
    [
        *(lacking, unknown_key, runtime, handler, source, group, layer, left_out, function_argument, command),
        *(option, option_value, directory, verbose_failure, as_json),
    ],
)
def test_no_command_prints_what_controls_the_terminal(
    prepare: Callable[[Service], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Names from the configuration, file names and arguments are printed with visible escapes, in errors and in summaries."""
    service = make_service(tmp_path)
    arguments = prepare(service)
    monkeypatch.chdir(service.write())
    main(arguments)
    out, err = capsys.readouterr()

    assert "" == controls(out + err)
    assert any(escape in out + err for escape in ("\\x1b", "\\u001b"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pylock.toml", f'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = {VALUE}\nversion = "1"\n'),
        ("uv.lock", f"version = 1\n[[package]]\nname = {VALUE}\nversion = {VALUE}\n"),
        ("requirements.txt", f"alpha==1.0 --{HOSTILE[:-1]}\n"),
        ("Pipfile.lock", json.dumps({"_meta": {"pipfile-spec": 6}, "default": {"a\x1b": {"version": HOSTILE}}})),
        ("poetry.lock", f"[[package]]\nname = {VALUE}\nversion = {VALUE}\n"),
        ("pdm.lock", f"[metadata]\nlock_version = {VALUE}\n"),
    ],
)
def test_no_lock_controls_the_terminal(
    name: str, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names in a lock file of any format are printed with visible escapes."""
    service = make_service(tmp_path)
    monkeypatch.chdir(service.write())
    (service.root / "pylock.toml").unlink()
    (service.root / name).write_text(content)
    code = main(["build", "-v"])
    out, err = capsys.readouterr()

    assert 0 != code
    assert "" == controls(out + err)
