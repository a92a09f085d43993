"""Terminal output: messages and progress on stderr, coloured if the terminal supports it."""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock  # importing `threading` takes longer than the rest of this module

from lamina.core.text import own_lines, visible

TYPE_CHECKING = False  # a build with nothing to do does not import `typing`
if TYPE_CHECKING:
    import argparse
    from threading import Timer
    from types import TracebackType
    from typing import Self, TextIO

    from lamina.cli.progress import ProgressLine
    from lamina.core.errors import LaminaError
    from lamina.core.reporter import Stage

_COLOURS = {"error": "31", "hint": "36", "warning": "33", "note": "2", "bold": "1"}
_MESSAGES = frozenset({"error", "warning", "note"})
"""The labels of texts that quote names; hints may have several lines."""
_REPORT_VERSION = "1"
_DELAY_SECONDS = 0.3
"""How long a stage lasts before a terminal shows it: quick commands neither flicker nor import the modules that draw."""


class Console:
    """
    Write a command's messages to stderr and, as a `Reporter`, show the progress of long work.

    On a terminal, a moving line shows the current stage once it lasts; on one that cannot move its cursor, each stage that lasts is one
    line. Elsewhere each stage is one line, printed only if *verbose*.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        verbose: bool = False,
        install_python: bool = False,
        stream: TextIO | None = None,
    ) -> None:
        """
        Write to *stream*, stderr by default; *quiet* suppresses everything but errors and announcements.

        With *install_python*, the user has agreed to every installation in advance.
        """
        self.quiet = quiet
        self._answers: dict[str, bool] = {}
        self._install_python = install_python
        self.verbose = verbose
        self._stream = stream if stream is not None else sys.stderr
        self._terminal = self._stream.isatty()
        self._colour = _wants_colour(terminal=self._terminal)
        self._is_live = self._terminal and os.environ.get("TERM") != "dumb"
        self._stage: Stage | None = None
        self._done = 0
        self._timer: Timer | None = None
        self._line: ProgressLine | None = None
        self._lock = allocate_lock()

    @property
    def table_width(self) -> int | None:
        """The width that tables must fit; see the function `table_width`."""
        return table_width(self._stream)

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Console:
        """Return a console that follows ``--quiet``, ``--verbose`` and ``--install-python`` in *arguments*."""
        agreed = getattr(arguments, "install_python", False)  # not every command builds
        return cls(quiet=arguments.quiet, verbose=arguments.verbose, install_python=agreed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.close()

    def say(self, *lines: str) -> None:
        """Write *lines*, unless quiet."""
        if not self.quiet:
            for line in lines:
                self._write(line)

    def failure(self, error: LaminaError, *, subject: str | None = None) -> None:
        """Write *error*, even if quiet, then a blank line and its hint. *subject*, such as a service's name, precedes the message."""
        self.close()
        self._write(f"{f'{subject}: ' if subject else ''}{error}", label="error")
        if error.hint:
            self._write("")
            self._write(error.hint, label="hint")

    def report(self, error: LaminaError, *, as_json: bool) -> None:
        """Write *error* like `failure`, and if *as_json* also a JSON report of it to stdout."""
        self.failure(error)
        if as_json:
            emit_json({"version": _REPORT_VERSION, **error.report, "error": error.document()})

    def finding(self, severity: str, message: str) -> None:
        """Write a finding of a check. Findings of severity ``error`` are written even if quiet."""
        if not self.quiet or severity == "error":
            self._write(message, label=severity)

    def trace(self, error: BaseException) -> None:
        """Write the traceback of *error*, even if quiet. What the exceptions quote adds no line, and the secrets of URLs are left out."""
        import traceback

        from lamina.core.urls import without_url_secrets

        text = "".join(traceback.format_exception(error)).rstrip("\n")
        cause: BaseException | None = error
        while cause is not None:
            text = text.replace(str(cause), own_lines(str(cause)))
            cause = cause.__cause__ or cause.__context__
        self._write(without_url_secrets(text))

    def title(self, text: str) -> None:
        """Write the heading *text*, unless quiet."""
        if not self.quiet:
            self._write(text, role="bold")

    def aside(self, text: str) -> None:
        """Write *text* less prominently than other lines, unless quiet."""
        if not self.quiet:
            self._write(text, role="note")

    def hint(self, text: str) -> None:
        """Write what the user can do next, unless quiet."""
        if not self.quiet:
            self._write(text, label="hint")

    def _paint(self, role: str, text: str) -> str:
        return f"\x1b[{_COLOURS[role]}m{text}\x1b[0m" if self._colour else text

    def stage(self, name: str, *, total: int | None = None, unit: str = "items") -> None:
        """Start the stage *name* of long work. *total* is the amount of work in *unit*; ``None`` if unknown."""
        if self.quiet:
            return
        if not self._is_live:
            if self.verbose:
                self._write(f"{name} …" if total is None else f"{name}: {_amount(total, unit)}")
            if self.verbose or not self._terminal:
                return
        from lamina.core.reporter import Stage

        with self._lock:
            if self._timer is not None and not self._is_live:
                self._timer.cancel()
                self._timer = None
            self._stage, self._done = Stage.now(name, total=total, unit=unit), 0
            if self._line is not None:
                self._line.show(self._stage, self._done)
            elif self._timer is None:
                self._timer = self._later()

    def _later(self) -> Timer:
        from threading import Timer

        timer = Timer(_DELAY_SECONDS, self._draw)
        timer.daemon = True
        timer.start()
        return timer

    def _draw(self) -> None:
        if not self._is_live:
            with self._lock:
                if self._stage is not None:
                    emit(f"{self._stage.name} …", stream=self._stream)
            return
        from lamina.cli.progress import ProgressLine

        with self._lock:
            if self._stage is not None:
                self._line = ProgressLine(self._stream, self._stage, self._done)

    def advance(self, amount: int) -> None:
        """Advance the progress of the current stage by *amount*, in the unit of the stage."""
        with self._lock:
            self._done += amount
            if self._line is not None and self._stage is not None:
                self._line.show(self._stage, self._done)

    def note(self, message: str) -> None:
        """Write a note, which needs no action, unless quiet."""
        if not self.quiet:
            self._write(message, label="note")

    def announce(self, message: str) -> None:
        """Write a note about code of others that is about to run, even if quiet."""
        self._write(message, label="note")

    def warn(self, message: str, *, hint: str | None = None) -> None:
        """Write a warning, which the user should act on, unless quiet."""
        if not self.quiet:
            self._write(message, label="warning")
            if hint:
                self.hint(hint)

    def may_install(self, what: str, /) -> bool:
        """
        Return whether the user lets lamina install *what*.

        Ask once, if stdin and stderr are terminals and the command line does not say.
        """
        if self._install_python or not self.can_ask:
            return self._install_python
        return self.agrees(f"{what} is not installed. Install it with uv?")

    @property
    def can_ask(self) -> bool:
        """Whether a person can see questions and answer them."""
        return not self.quiet and self._terminal and sys.stdin.isatty()

    def agrees(self, question: str) -> bool:
        """Ask *question* once, and return whether the answer is yes."""
        self.close()
        with self._lock:
            if question not in self._answers:
                emit(f"{question} [y/N] ", end="", stream=self._stream)
                self._stream.flush()
                self._answers[question] = sys.stdin.readline().strip().lower() in {"y", "yes"}
            return self._answers[question]

    def close(self) -> None:
        """Remove the line that shows the progress."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._line is not None:
                self._line.stop()
            self._stage = self._timer = self._line = None

    def _write(self, text: str, *, label: str | None = None, role: str | None = None) -> None:
        """Write *text* in the colour of *role*, after *label* in its colour and a colon. Only colours may control the terminal."""
        shown = visible(own_lines(text) if label in _MESSAGES else text)
        line = shown if role is None else self._paint(role, shown)
        if label is not None:
            line = f"{self._paint(label, f'{label}:')} {line}"
        with self._lock:
            if self._line is not None:
                self._line.write(line)
            else:
                print(line, file=self._stream)


def emit(text: str, *, stream: TextIO | None = None, end: str = "\n") -> None:
    """Write *text* to *stream*, by default stdout. Nothing in it can control the terminal: see `visible`."""
    print(visible(text), end=end, file=stream)


def emit_visible(text: str) -> None:
    """Write *text*, whose names went through `visible`, to stdout as it is: `emit` would escape the commands that GitHub is to run."""
    sys.stdout.write(text)


def emit_json(content: object) -> None:
    """Write *content* to stdout as JSON, with all but ASCII characters escaped."""
    from lamina.core.text import json_text

    emit(json_text(content))


def columns(stream: TextIO | None) -> int | None:
    """Return the width of the terminal *stream*, with the same rules as `shutil.get_terminal_size`; ``None`` if it is unknown."""
    setting = os.environ.get("COLUMNS", "")
    if setting.isdecimal() and int(setting) > 0:
        return int(setting)
    try:
        return os.get_terminal_size(stream.fileno()).columns or None  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):
        return None


def table_width(stream: TextIO) -> int | None:
    """Return the width that tables on *stream* must fit; ``None`` if it is not a terminal, so that another program reads all columns."""
    return columns(stream) if stream.isatty() else None


def _wants_colour(*, terminal: bool) -> bool:
    # NO_COLOR: no-color.org; any value but the empty string counts.
    if os.environ.get("NO_COLOR"):
        return False
    return terminal and os.environ.get("TERM") != "dumb"


def _amount(total: int, unit: str) -> str:
    from lamina.core.text import count, megabytes

    return megabytes(total) if unit == "bytes" else count(total, unit.removesuffix("s"))
