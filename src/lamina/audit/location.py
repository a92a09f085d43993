"""Find the file and the line of a project to change for a finding that only names a function, a layer or a file."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING

from lamina.core.files import read_file
from lamina.core.frozen import replace
from lamina.core.names import normalized
from lamina.core.paths import relative_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lamina.core.values import Finding
    from lamina.project.service import Service

_HEADER = re.compile(r"\s*\[+\s*([^\]]+?)\s*\]")
_SYNTHESIZED = frozenset({"cdk.out", ".aws-sam", ".serverless", ".terraform"})
"""Directories of files that tools write, which are not in the repository."""
_REQUIREMENTS = ("pyproject.toml", "Pipfile", "requirements.in")
"""The files in which people write requirements, as opposed to lock files."""
_KEY = re.compile(r"\s*([\w.-]+)\s*=(?!=)")
_REQUIRED = re.compile(r"(?:^|[\"'])\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_LISTS = frozenset({"project.optional-dependencies", "dependency-groups", "tool.pdm.dev-dependencies"})
_TABLES = re.compile(r"tool\.poetry\.(?:group\.[^.]+\.)?(?:dev-)?dependencies|(?:dev-)?packages")
_TEMPLATES = frozenset({".json", ".py", ".tf", ".toml", ".ts", ".yaml", ".yml"})


class Locator:
    """Locates findings in the configuration and the deploy description of one service. Files are read when needed."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._functions = {function.name for function in service.functions}
        self._layers = {layer.name for layer in service.layers}
        self.configuration = relative_path(service.inputs[0], service.root)
        """The configuration file, relative to the project."""

    def located(self, finding: Finding) -> Finding:
        """
        Return *finding* with a file, and with a line if one is found.

        Without a better place, that is the start of the configuration. Files are relative to the project.
        """
        if finding.file is not None:
            return finding
        file, line = self._place(finding.path)
        return replace(finding, file=file, line=line)

    def requirement(self, name: str) -> tuple[str | None, int | None]:
        """Return the file and the line that require the distribution with the normalised *name*; ``None`` for both if no line does."""
        return self._requirements.get(name, (None, None))

    def line(self, key: str, value: str | None = None) -> int | None:
        """Return the line of the configuration with the string *value* at the dotted *key* or below it, else that of the key."""
        start = self._lines.get(key)
        if start is None or value is None:
            return start
        lines = _text(self._service.inputs[0]).splitlines()
        quoted = (f'"{value}"', f"'{value}'")
        return next((at for at in range(start, len(lines) + 1) if any(each in lines[at - 1] for each in quoted)), start)

    def _place(self, path: str | None) -> tuple[str, int | None]:
        root = self._service.root
        if path is not None:
            table = "functions" if path in self._functions else "layers" if path in self._layers else ""
            if table and (line := self._lines.get(f"{table}.{path}")) is not None:
                return self.configuration, line
            if path in self._functions and (described := self._in_template(path)) is not None:
                return described
            if not table and (root / path).is_file():
                return path, None
        return self.configuration, self._lines.get("", 1)

    @cached_property
    def _lines(self) -> dict[str, int]:
        """The line of each key in the configuration, by its dotted name below lamina's table, which has an empty name."""
        path = self._service.inputs[0]
        prefix = "" if path.name == "lamina.toml" else "tool.lamina"
        table = ""
        found: dict[str, int] = {}
        for number, line in enumerate(_text(path).splitlines(), start=1):
            if header := _HEADER.match(line):
                table = header[1]
                name = table
            else:
                key, is_key, _ = line.partition("=")
                if not is_key or key.lstrip().startswith("#"):
                    continue
                name = f"{table}.{key.strip()}" if table else key.strip()
            name = re.sub(r"[\"'\s]", "", name)
            if name == prefix or (name.startswith(f"{prefix}." if prefix else "")):
                found.setdefault(name.removeprefix(prefix).removeprefix("."), number)
        return found

    @cached_property
    def _requirements(self) -> dict[str, tuple[str, int]]:
        """The first line that requires each distribution, by its normalised name."""
        found: dict[str, tuple[str, int]] = {}
        for file in _REQUIREMENTS:
            if (path := self._service.root / file).is_file():
                for name, number in _required(_text(path), is_list=path.suffix == ".in"):
                    found.setdefault(normalized(name), (file, number))
        return found

    def _in_template(self, function: str) -> tuple[str, int] | None:
        """Return the first line in the deploy description that has the name of *function*, in any case and with any separators."""
        return self._words.get(_folded(function))

    @cached_property
    def _words(self) -> dict[str, tuple[str, int]]:
        """The first line in the deploy description that has each word."""
        found: dict[str, tuple[str, int]] = {}
        for path in self._service.inputs[1:]:
            if path.suffix in _TEMPLATES and _SYNTHESIZED.isdisjoint(path.parts) and path.is_file():
                file = relative_path(path, self._service.root)
                for number, line in enumerate(_text(path).splitlines(), start=1):
                    for word in re.findall(r"[\w-]+", line):
                        found.setdefault(_folded(word), (file, number))
        return found


def _required(text: str, *, is_list: bool) -> Iterator[tuple[str, int]]:
    """Yield the name of each requirement in *text*, with its line: *text* is a list of requirements, or TOML with lists or tables of them."""
    table = key = ""
    for number, line in enumerate(text.splitlines(), start=1):
        # A name is before any `#` in its requirement, such as in a URL.
        values = line.partition("#")[0].rstrip()
        if is_list:
            names = [found[1]] if (found := _REQUIRED.match(values)) else []
        elif header := _HEADER.fullmatch(values):
            table, key, names = header[1].replace(" ", ""), "", []
        else:
            if found := _KEY.match(values):
                key, values = found[1], values[found.end() :]
            if _TABLES.fullmatch(table):
                names = [key] if found else []
            else:
                is_lists = table in _LISTS or (table, key) in {
                    ("project", "dependencies"),
                    ("tool.uv", "dev-dependencies"),
                }
                names = _REQUIRED.findall(values) if is_lists else []
        yield from ((name, number) for name in names)


def _folded(name: str) -> str:
    return re.sub(r"[-_]", "", name).casefold()


def _text(path: Path) -> str:
    return read_file(path).decode("utf-8", "replace")
