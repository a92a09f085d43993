"""Draw the stages of long work on a terminal as one moving line. Imported only for a stage that lasts."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, TextIO

from rich import progress
from rich.console import Console
from rich.table import Column

from lamina.core.text import visible

if TYPE_CHECKING:
    from rich.progress import Task

    from lamina.core.reporter import Stage

_NARROW = 80
"""The number of columns below which the line has no bar, so that the name of the stage fits."""


class ProgressLine:
    """The line on a terminal that shows the current stage: it moves while lamina works, even if the amount is unknown or all done."""

    def __init__(self, stream: TextIO, stage: Stage, done: int) -> None:
        """Show *stage* on *stream*, of which the amount *done* is complete."""
        self._console = Console(file=stream)
        columns = [
            progress.SpinnerColumn("line" if self._console.options.ascii_only else "dots"),
            progress.TextColumn(
                "{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
            ),
            progress.BarColumn(bar_width=20),
            progress.TextColumn("{task.fields[amount]}", table_column=Column(no_wrap=True)),
            _Elapsed(table_column=Column(no_wrap=True, min_width=4)),
        ]
        if self._console.width < _NARROW:
            del columns[2]
        # What commands write to stdout and stderr meanwhile is not for this line to redirect.
        self._progress = progress.Progress(
            *columns, console=self._console, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._progress.add_task("")
        (self._task,) = self._progress.tasks
        self.show(stage, done)
        self._progress.start()

    def show(self, stage: Stage, done: int) -> None:
        """Show *stage*, of which the amount *done* is complete."""
        # Threads of an earlier stage may still report their work, which exceeds the total of this one.
        done = min(done, stage.total or 0)
        self._task.description = visible(stage.name)
        self._task.fields.update(amount=stage.amount(done), started=stage.started)
        # Files are checked after their last byte: without a total, the bar pulses instead of standing still.
        self._task.total = None if done == (stage.total or 0) else stage.total
        self._task.completed = done

    def write(self, text: str) -> None:
        """Write *text* above the line."""
        self._console.out(text, highlight=False)

    def stop(self) -> None:
        """Remove the line."""
        self._progress.stop()


class _Elapsed(progress.ProgressColumn):
    """The whole seconds since the stage started."""

    def render(self, task: Task) -> str:
        return f"{monotonic() - task.fields['started']:.0f} s"
