"""The scripts of `lamina completion` complete command lines in the shells that they are for."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import shtab

from lamina.cli.completion import SHELLS
from lamina.cli.main import COMMANDS, main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_DEADLINE_SECONDS = 60
# What is typed before Tab, and the command line that results.
CASES = {
    "coldst": "coldstart",
    "build --dr": "build --dry-run",
    "cache ver": "cache verify",
    "cache export --byt": "cache export --bytecode",
    "cache import bytec": "cache import bytecode.zip",
    "invoke --mode na": "invoke --mode namespace",
    "build --project serv": "build --project services",
    "completion f": "completion fish",
}
# Run instead of lamina. The shell also shows what is typed, so the words are between marks that are never typed.
_SHOW = "lamina() { printf '%s%s' '[' '['; printf '%s ' \"$@\"; printf '%s%s\\n' ']' ']'; }\nPS1=''\n"
SETUP: dict[str, tuple[str, str, list[str]]] = {
    "bash": ("rc", f"source ./_lamina\n{_SHOW}", ["--noprofile", "--rcfile", "rc", "-i"]),
    "zsh": (".zshrc", f"fpath=($PWD $fpath)\nautoload -Uz compinit\ncompinit -u -D\n{_SHOW}", ["-d", "-i"]),
}


def printed(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the script for *shell*."""
    code = main(["completion", shell])

    assert 0 == code
    return capsys.readouterr().out


@contextmanager
def typing(command: list[str], place: Path) -> Iterator[Callable[[str], str]]:
    """Run *command* in a terminal; yield a function that types a line and returns what lamina's replacement printed."""
    ours, theirs = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "HOME": str(place), "ZDOTDIR": str(place), "TERM": "dumb"}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=place, env=environment, start_new_session=True
    )
    os.close(theirs)

    def enter(line: str) -> str:
        os.write(ours, line.encode())
        shown = b""
        while b"]]" not in shown:
            ready, _, _ = select.select([ours], [], [], _DEADLINE_SECONDS)
            assert ready, shown.decode()
            shown += os.read(ours, 4096)
        return shown.decode().partition("[[")[2].partition("]]")[0]

    try:
        yield enter
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.parametrize("shell", SETUP)
def test_tab_completes(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a real shell, Tab completes commands, options, values, files and directories."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    name, setup, options = SETUP[shell]
    (tmp_path / "_lamina").write_text(printed(shell, capsys))
    (tmp_path / name).write_text(setup)
    (tmp_path / "services").mkdir()
    (tmp_path / "bytecode.zip").touch()

    with typing([program, *options], tmp_path) as enter:
        # zsh removes the slash of a directory at the end of the line.
        found = {typed: enter(f"lamina {typed}\t\n").strip().rstrip("/") for typed in CASES}

    assert CASES == found


def test_fish_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fish offers commands, options, values, files and directories."""
    program = shutil.which("fish")
    if program is None:
        pytest.skip("fish is not installed")
    (tmp_path / "lamina.fish").write_text(printed("fish", capsys))
    (tmp_path / "services").mkdir()
    (tmp_path / "bytecode.zip").touch()
    asked = "; ".join(f"echo (complete -C 'lamina {typed}')" for typed in CASES)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = [program, "--no-config", "-c", f"source lamina.fish; {asked}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)

    # A candidate is followed by a tab and its description.
    offered = [line.split()[0].rstrip("/") for line in done.stdout.splitlines()]

    assert [line.split(" ")[-1] for line in CASES.values()] == offered


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_is_in_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each script has every command, and the library supports each shell."""
    script = printed(shell, capsys)

    assert [] == [name for name in COMMANDS if name not in script]
    assert shell in shtab.SUPPORTED_SHELLS


def test_an_unknown_shell(capsys: pytest.CaptureFixture[str]) -> None:
    """The error for another shell lists the shells."""
    code = main(["completion", "csh"])

    message = capsys.readouterr().err

    assert 2 == code
    assert [] == [shell for shell in SHELLS if shell not in message]


def test_json_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A script is not JSON."""
    code = main(["completion", "bash", "--json"])

    assert 2 == code
    assert "does not support `--json`" in capsys.readouterr().err
