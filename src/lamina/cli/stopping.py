"""End commands that are interrupted: with the time to clean up in AWS, or soon if they may be killed at any time."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from socket import socketpair
from typing import TYPE_CHECKING

from lamina.core.errors import StoppedError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from lamina.cli.console import Console

_PATIENCE_SECONDS = 2
"""How long threads have to end after Ctrl-C: those that compile or copy do, those that wait for a server may not."""


@contextmanager
def stoppable() -> Iterator[None]:
    """
    Raise KeyboardInterrupt when SIGTERM arrives inside the context, as CI systems send it to cancel a job.

    In threads other than the main one this does nothing, because Python runs signal handlers in the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def killable(arguments: argparse.Namespace, console: Console) -> Iterator[None]:
    """
    End the process with the exit code of `StoppedError` if it is still inside the context a while after Ctrl-C.

    A build would otherwise wait for its threads, and these for servers that do not answer. Only for work that leaves nothing behind
    when it is killed. In threads other than the main one, and if the process ignores Ctrl-C, this does nothing.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    ended = threading.Event()
    arrived, signals = socketpair()
    signals.setblocking(False)

    def watch() -> None:
        with arrived:
            while signal.SIGINT not in (received := arrived.recv(1)):
                if not received:
                    return
        if ended.wait(_PATIENCE_SECONDS):
            return
        console.report(StoppedError("interrupted"), as_json=arguments.json)
        if sys.stdout is not None:
            sys.stdout.flush()
        os._exit(StoppedError.exit_code)

    # The kernel may deliver a signal to any thread. Only the file descriptor tells at once that it has arrived: the handler runs
    # when the main thread wakes up, which may wait for the other threads. Starting the thread in the handler could also wait
    # for a lock that the interrupted code holds.
    watching = threading.Thread(target=watch, name="lamina-interrupt", daemon=True)
    watching.start()
    before = signal.set_wakeup_fd(signals.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        # Closing the connection ends the thread.
        signals.close()
        watching.join()
