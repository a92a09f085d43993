"""The part of ``lamina coldstart`` that records what functions import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.cli._measuring import showing
from lamina.cli.coldstart import misplaced
from lamina.cli.console import Console
from lamina.cli.invoke import open_build, read_event
from lamina.coldstart.measure import start
from lamina.coldstart.profile import imported, record
from lamina.coldstart.variants import subjects
from lamina.core.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from lamina.coldstart.measure import Subject

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Start each function once, with its events, and write the profile; 1 where one cannot start."""
    if mistakes := misplaced(arguments):
        raise ConfigError("; ".join(mistakes), hint="see: lamina coldstart --help")
    console = Console.of(arguments)
    artifacts = open_build(arguments)
    chosen = subjects(artifacts, arguments.functions, showing=showing(arguments))
    events = _events(arguments.event, chosen)
    found: dict[str, frozenset[str]] = {}
    failures = 0
    for subject in chosen:
        run = start(subject.world, traced=True, events=events.get(subject.function, ()))
        if run.failure is not None or run.trace is None:
            console.warn(f"`{subject.function}` cannot start and was not recorded: {run.failure}")
            failures += 1
            continue
        for reason in run.unanswered:
            console.warn(
                f"`{subject.function}` failed with an event: {reason}",
                hint="what it would have imported after that was not recorded",
            )
        found[subject.function] = imported(run.trace)
        console.note(f"`{subject.function}`: {len(found[subject.function])} modules of its layers")
    path = record(artifacts.project, found, fresh=arguments.fresh)
    if arguments.json:
        counts = {name: len(found[name]) for name in sorted(found)}
        print(json.dumps({"version": "1", "kind": "profile", "path": str(path), "modules": counts}, indent=2))
    else:
        print(path)
    return 1 if failures else 0


def _events(asked: Sequence[str], chosen: Sequence[Subject]) -> dict[str, list[bytes]]:
    """Return the events of each function; one without a function's name is for the only one that was chosen."""
    names = [subject.function for subject in chosen]
    found: dict[str, list[bytes]] = {}
    mistakes: list[str] = []
    for entry in asked:
        name, separator, source = entry.partition("=")
        if separator and name in names:
            found.setdefault(name, []).append(read_event(source))
        elif len(names) == 1 and Path(entry).exists():
            found.setdefault(names[0], []).append(read_event(entry))
        else:
            mistakes.append(entry)
    if mistakes:
        raise ConfigError(
            f"`--event` does not say which function gets it: {', '.join(f'`{entry}`' for entry in mistakes)}",
            hint=f"--event FUNCTION=FILE, where the functions are: {', '.join(names)}",
        )
    return found
