"""Examine everything that a build of the project in a directory uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.pipeline.doctor.machine import examine_machine
from lamina.pipeline.doctor.problems import Problems
from lamina.pipeline.doctor.project import examine_project
from lamina.pipeline.doctor.storage import examine_indexes, examine_store

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.errors import LaminaError
    from lamina.core.store import Store
    from lamina.pipeline.doctor.machine import Machine
    from lamina.pipeline.doctor.project import FoundProject
    from lamina.pipeline.doctor.storage import FoundIndex, FoundStore


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """What a build uses, and what prevents it."""

    machine: Machine
    store: FoundStore
    project: FoundProject
    indexes: tuple[FoundIndex, ...]
    problems: tuple[LaminaError, ...]


def examine(start: Path, store: Store) -> Diagnosis:
    """Return what a build in the directory *start* with *store* uses. Nothing is downloaded."""
    problems = Problems()
    machine = examine_machine()
    found_store = examine_store(store, problems)
    project = examine_project(start, store, problems)
    # uv's settings are those of the project, whose directory may be above `start`.
    directory = project.services[0].directory if len(project.services) == 1 else start
    indexes = examine_indexes(directory, problems)
    return Diagnosis(machine=machine, store=found_store, project=project, indexes=indexes, problems=tuple(problems))
