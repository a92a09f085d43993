"""End soon after Ctrl-C or SIGTERM the commands that may be killed at any time."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lamina.core.errors import StoppedError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from lamina.cli.console import Console

_PATIENCE_SECONDS = 2
"""How long threads have to end after Ctrl-C: those that compile or copy do, those that wait for a server may not."""


NOTHING_CHANGED = "interrupted; nothing was published or deployed"
"""The message of commands that change AWS, if a signal ends them before the first change."""


@contextmanager
def before_changes() -> Iterator[None]:
    """Raise `StoppedError` with `NOTHING_CHANGED` after Ctrl-C, SIGTERM or SIGHUP inside the context."""
    try:
        yield
    except (KeyboardInterrupt, StoppedError) as error:
        raise StoppedError(NOTHING_CHANGED) from error


@contextmanager
def killable(arguments: argparse.Namespace, console: Console, message: str = "interrupted") -> Iterator[None]:
    """
    End the process with *message* and the exit code of `StoppedError` if it is still inside the context a while after Ctrl-C, SIGTERM or SIGHUP.

    A build would otherwise wait for its threads, and these for servers that do not answer. The main thread may even miss the signal, if it
    arrives just before that thread starts to wait. Only for work that leaves nothing but temporary directories behind when it is killed. In threads other than the main
    one, and for a signal that the process ignores, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    ended = threading.Event()

    def watch() -> None:
        with open(reading, "rb", buffering=0) as signals:
            if signals.read(1) and not ended.wait(_PATIENCE_SECONDS):
                console.report(StoppedError(message), as_json=arguments.json)
                sys.stdout.flush()
                from lamina.core.temporary import remove_all  # slow to import

                remove_all()
                os._exit(StoppedError.exit_code)

    threading.Thread(target=watch, name="lamina-interrupt", daemon=True).start()
    # Python writes the number of each signal to this pipe as soon as it arrives.
    before = signal.set_wakeup_fd(writing)
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        os.close(writing)
