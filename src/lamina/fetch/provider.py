"""The wheels of one build, each fetched or built when a stage first needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.fetch import fetch
from lamina.core.values import SourcePin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from lamina.core.values import Pin, Wheel
    from lamina.pipeline.plan import Session
    from lamina.core.target import Target

__all__ = ["Supply"]


class Supply:
    """The wheels of one build, each fetched or built when a stage first needs it."""

    def __init__(self, session: Session, target: Target) -> None:
        self.session = session
        self._target = target
        self._wheels: dict[str, Wheel] = {}

    def all(self, pins: Iterable[Pin]) -> tuple[Wheel, ...]:
        """Return the wheels of *pins*, in that order; raises as `lamina.fetch.fetch` and `lamina.fetch.source.build` do."""
        pins = tuple(pins)
        missing = {pin.sha256: pin for pin in pins if pin.sha256 not in self._wheels}
        sources = [pin for pin in missing.values() if isinstance(pin, SourcePin)]
        if locked := [pin for pin in missing.values() if not isinstance(pin, SourcePin)]:
            self._wheels |= {wheel.pin.sha256: wheel for wheel in self._fetch(locked, _verify)}
        if sources:
            self._wheels |= {wheel.pin.sha256: wheel for wheel in self._build(sources)}
        return tuple(self._wheels[pin.sha256] for pin in pins)

    def _fetch(self, pins: Sequence[Pin], verify: Callable[[Path, Pin], None]) -> tuple[Wheel, ...]:
        session = self.session
        return fetch(
            pins,
            session.store,
            verify=verify,
            index=session.index,
            reporter=session.reporter,
            offline=session.options.offline,
        )

    def _build(self, pins: Sequence[SourcePin]) -> tuple[Wheel, ...]:
        from lamina.fetch.source import Workshop, build  # noqa: PLC0415 - most locks hold wheels only

        session = self.session
        workshop = Workshop(
            target=self._target,
            store=session.store,
            index=session.index,
            project=session.project,
            fetch=lambda pin: self._fetch([pin], _verify_hash_only)[0].path,
            reporter=session.reporter,
            offline=session.options.offline,
        )
        return build(pins, workshop)


def _verify_hash_only(path: Path, pin: Pin) -> None:
    """Accept an archive of sources, which has no RECORD: its hash was checked."""


def _verify(path: Path, pin: Pin) -> None:
    from lamina.archive.wheel import verify_record  # noqa: PLC0415 - only what is new to the store is inflated

    verify_record(path, pin)
