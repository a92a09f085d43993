"""Decide the runtime and the architecture of a service, and say where each comes from."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from lamina.core import toml
from lamina.core.files import read_file
from lamina.core.paths import relative_path
from lamina.core.target import runtimes, supported_runtimes
from lamina.core.text import decoded
from lamina.project.functions import setting

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from lamina.core.target import Runtime
    from lamina.project.templates.cdk.reader import CdkGuess
    from lamina.project.templates.types import TemplateFunction

_PATCHES = range(60)
NOTHING = "default, nothing in the repository sets it"


class Decision(NamedTuple):
    """A value, and what decided it."""

    value: str
    reason: str
    is_described: bool = False
    """Whether a template decided it."""


def choose_runtime(
    option: str | None,
    functions: Sequence[TemplateFunction],
    directory: Path,
    document: dict[str, Any],
    *,
    root: Path,
    guess: CdkGuess,
    today: dt.date,
) -> Decision:
    """
    Return the runtime of a service in *directory*, from the first that names one.

    The order is: the *option* ``--runtime``, the template's *functions*, the *guess* from a CDK app's sources,
    ``.python-version``, ``requires-python`` or Poetry's ``python`` in *document* (``pyproject.toml``), ``Pipfile``. A
    requirement stands for the oldest runtime that it allows and that Lambda still supports *today*. ``.python-version`` is
    searched up to the directory *root*.
    """
    if option:
        return Decision(option, "--runtime")
    known = {each.name for each in runtimes()}
    if (described := _most_common((each.runtime, each) for each in functions if each.runtime in known)) is not None:
        return described
    if guess.runtime is not None:
        return Decision(guess.runtime, f"{guess.runtime_origin}, a guess from the app's sources")
    if (pinned := _pinned(directory, root)) is not None:
        return pinned
    for key, requirement, allows in _requirements(directory, document):
        if (found := _oldest(allows, today)) is not None:
            return Decision(found.name, f"{key} = {json.dumps(requirement, ensure_ascii=False)}")
    return Decision(_on_this_machine(today), NOTHING)


def choose_architecture(option: str | None, functions: Sequence[TemplateFunction], *, guess: CdkGuess) -> Decision:
    """Return the architecture from *option*, the template's *functions* or the *guess*; otherwise Lambda's default."""
    if option:
        return Decision(option, "--architecture")
    described = _most_common((each.target_architecture, each) for each in functions)
    if described is not None and any(each.architecture is not None for each in functions):
        return described
    if guess.architecture is not None:
        return Decision(guess.architecture, f"{guess.architecture_origin}, a guess from the app's sources")
    return Decision(str(setting("architecture").default), NOTHING)


def _most_common(values: Iterable[tuple[str | None, TemplateFunction]]) -> Decision | None:
    known = [(value, function) for value, function in values if value is not None]
    if not known:
        return None
    value = Counter(value for value, _ in known).most_common(1)[0][0]
    return Decision(value, str(next(function.origin for each, function in known if each == value)), is_described=True)


def _pinned(directory: Path, root: Path) -> Decision | None:
    for place in (directory, *directory.parents):
        path = place / ".python-version"
        if path.is_file():
            with path.open(encoding="utf-8", errors="replace") as file:
                text = file.read(4_096)
            version = re.search(r"^\s*(?:c?python-?)?(3\.\d+)", text, re.MULTILINE)
            name = relative_path(path, root)
            return Decision(f"python{version[1]}", name) if version else None
        if place == root:
            break
    return None


def _requirements(directory: Path, document: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield the name, the text and a test of each setting that limits the Python version."""
    poetry = _table(_table(_table(document, "tool"), "poetry"), "dependencies")
    python = poetry.get("python")
    for key, value, parse in (
        ("requires-python", _table(document, "project").get("requires-python"), _specifiers),
        ("tool.poetry.dependencies.python", python.get("version") if isinstance(python, dict) else python, _poetry),
        *(("Pipfile", value, _pipfile) for value in _pipfile_versions(directory)),
    ):
        if isinstance(value, str):
            try:
                yield key, value, parse(value)
            except ValueError:
                # A requirement that no tool can read decides nothing.
                continue


def _table(values: dict[str, Any], key: str) -> dict[str, Any]:
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def _specifiers(text: str) -> Any:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(text).contains


def _poetry(text: str) -> Any:
    from lamina.lock.poetryversions import parse

    return parse(text).contains


def _pipfile(text: str) -> Any:
    return _specifiers(f"=={text}.*" if text.count(".") == 1 else f"=={text}")


def _pipfile_versions(directory: Path) -> Iterator[str]:
    try:
        requires = _table(toml.parse(decoded(read_file(directory / "Pipfile"))), "requires")
    except (OSError, ValueError):
        return
    yield from (str(requires[key]) for key in ("python_full_version", "python_version") if key in requires)


def _oldest(allows: Any, today: dt.date) -> Runtime | None:
    """Return the oldest supported runtime with a patch release that *allows* accepts; if none is supported, the oldest."""
    # AWS keeps the runtime's patch release current, so a requirement for any patch release selects its runtime. The upper
    # patch number is above every release.
    fitting = [
        runtime
        for runtime in runtimes()
        if any(allows(f"{runtime.name.removeprefix('python')}.{patch}") for patch in (999, *_PATCHES))
    ]
    return next((runtime for runtime in supported_runtimes(today) if runtime in fitting), next(iter(fitting), None))


def _on_this_machine(today: dt.date) -> str:
    """Return the newest supported runtime whose Python is on ``PATH``, so that functions can run here; otherwise the newest."""
    newest_first = [runtime.name for runtime in reversed(supported_runtimes(today) or runtimes())]
    # `python3.13` is both the name of a runtime and that of its interpreter.
    return next((name for name in newest_first if shutil.which(name) is not None), newest_first[0])
