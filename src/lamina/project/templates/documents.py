"""
Parse YAML and JSON documents that may be hostile, and remember where their keys are.

YAML is read as a stream of events, without recursion and without constructing objects for tags. An alias is not expanded:
the same value appears at both places, so a small document stays small. JSON is parsed by `json`; the lines of its values are
searched only on request.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from lamina.core.errors import TemplateError
from lamina.project.templates.files import JSON_BYTES
from lamina.project.templates.types import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lamina.project.templates.files import TemplateFiles

_DEEPEST = 100
_MOST_NODES = 200_000
_LONGEST_NUMBER = 100
_MERGE = "<<"
# Each list, object and value needs up to 200 bytes of memory. A plan of 20 MB has about 300,000 lists and objects.
_MOST_CONTAINERS = 500_000
_MOST_COMMAS = 2_000_000
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_SPACES = re.compile(r"[ \t\n\r]*")
_YAML = "tag:yaml.org,2002:"
# The tags of YAML 1.1's schema (https://yaml.org/type/, read 2026-11-28).
_STANDARD = frozenset(
    _YAML + name
    for name in (
        *("binary", "bool", "float", "int", "map", "merge", "null", "omap", "pairs", "seq", "set", "str", "timestamp"),
        "value",
    )
)


class Mapping(dict[str, Any]):
    """A mapping of a YAML document, with the line of each key."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        """Create an empty mapping that starts on *line*."""
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


class Items(list[Any]):
    """A list of a YAML document, with the line of each item."""

    __slots__ = ("lines",)

    def __init__(self) -> None:
        """Create an empty list."""
        super().__init__()
        self.lines: list[int] = []


class Document:
    """A parsed YAML or JSON file: nested mappings with string keys, lists and scalars."""

    def __init__(self, file: str, value: Any, text: str | None = None) -> None:
        """Wrap *value*, the content of *file*. *text* is the source of a JSON document, in which places are searched."""
        self.file = file
        self.value = value
        self._text = text
        # The position and the line of each member of the objects and lists that were asked for.
        self._members: dict[tuple[str | int, ...], dict[str | int, tuple[int, int]]] = {}

    def origin(self, *keys: str | int) -> Origin:
        """
        Return the place of the value at the path *keys*, or of the closest parent whose place is known.

        A number is the index of an item in a list.
        """
        return Origin(file=self.file, line=self._line_in_text(keys) if self._text is not None else self._line(keys))

    def _line(self, keys: tuple[str | int, ...]) -> int | None:
        value, line = self.value, None
        for key in keys:
            if isinstance(value, Mapping) and key in value:
                line, value = value.lines.get(str(key), line), value[str(key)]
            elif isinstance(value, Items) and isinstance(key, int) and key < len(value):
                line, value = value.lines[key], value[key]
            else:
                break
        return line

    def _line_in_text(self, keys: tuple[str | int, ...]) -> int | None:
        position, line = 0, None
        for end, key in enumerate(keys):
            parent = keys[:end]
            if parent not in self._members:
                try:
                    self._members[parent] = dict(self._read_members(position, line or 1))
                except RecursionError:
                    # The stack is deeper here than where the document was parsed.
                    break
            if key not in self._members[parent]:
                break
            position, line = self._members[parent][key]
        return line

    def _read_members(self, position: int, line: int) -> Iterator[tuple[str | int, tuple[int, int]]]:
        """Yield the members of the object or list at *position* on *line*: each with the position of its value, and its line."""
        text = self._text or ""
        decoder, start, index = json.JSONDecoder(), _after_spaces(text, position), 0
        is_object = text.startswith("{", start)
        if not is_object and not text.startswith("[", start):
            return
        line += text.count("\n", position, start)
        position = _after_spaces(text, start + 1)
        while text[position] not in "]}":
            line += text.count("\n", start, position)
            start, key = position, index
            if is_object:
                key, position = decoder.raw_decode(text, position)
                position = _after_spaces(text, _after_spaces(text, position) + 1)
            yield key, (position, line)
            end = decoder.raw_decode(text, position)[1]
            index += 1
            # After the last member, this is the closing bracket, and otherwise the next member.
            end = _after_spaces(text, end)
            position = _after_spaces(text, end + 1) if text[end] == "," else end


def load(path: str, files: TemplateFiles, *, tag: Callable[[str, Any], Any] | None = None) -> Document:
    """
    Return the content of the YAML or JSON file *path*.

    *tag* returns the value for an application tag such as ``!Sub`` and the value that it marks; it raises ValueError for an
    unknown tag. Without it, such tags are errors. Raises `TemplateError` with file and line for an invalid document.
    """
    if path.endswith(".json"):
        return _load_json(path, files.text(path, limit=JSON_BYTES))
    return Document(path, _Builder(path, tag).build(files.text(path)))


def _load_json(path: str, text: str) -> Document:
    def refuse(constant: str) -> Any:
        raise ValueError(f"`{constant}` is not a JSON value")

    if text.count("[") + text.count("{") > _MOST_CONTAINERS or text.count(",") > _MOST_COMMAS:
        raise TemplateError("the document has too many values", file=path)
    try:
        value = json.loads(text, parse_constant=refuse)
        if _SURROGATE.search(text) is not None:
            # An unpaired surrogate cannot be written anywhere. The error is a ValueError.
            json.dumps(value, ensure_ascii=False).encode()
        return Document(path, value, text)
    except json.JSONDecodeError as error:
        raise TemplateError(f"not valid JSON: {error.msg}", file=path, line=error.lineno) from error
    except ValueError as error:
        raise TemplateError(f"not valid JSON: {error}", file=path) from error
    except RecursionError:
        raise TemplateError("the document is nested too deeply", file=path) from None


class _Builder:
    """The conversion of one YAML document's events into values."""

    def __init__(self, file: str, tag: Callable[[str, Any], Any] | None) -> None:
        self._file = file
        self._tag = tag
        self._anchors: dict[str, Any] = {}
        self._stack: list[_Collection] = []
        self._nodes = 0

    def build(self, text: str) -> Any:
        import yaml

        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            return self._document(self._events(yaml.parse(text, loader)))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._error(error.problem or str(error.context), None if mark is None else mark.line + 1) from error
        except yaml.YAMLError as error:
            raise self._error(str(error).splitlines()[0], None) from error

    def _error(self, problem: str, line: int | None) -> TemplateError:
        return TemplateError(f"not valid YAML: {problem}", file=self._file, line=line)

    def _events(self, events: Iterator[Any]) -> Iterator[Any]:
        """Yield the events of the first document. Raises `TemplateError` if there are too many."""
        for event in events:
            self._nodes += 1
            if self._nodes > _MOST_NODES:
                raise TemplateError(f"the document has more than {_MOST_NODES:,} values", file=self._file)
            yield event

    def _document(self, events: Iterator[Any]) -> Any:
        import yaml

        result: Any = None
        scalars = _Scalars()
        for event in events:
            line = event.start_mark.line + 1
            if isinstance(event, yaml.DocumentStartEvent) and result is not None:
                raise self._error("expected a single document", line)
            if isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
                self._open(event, Mapping(line) if isinstance(event, yaml.MappingStartEvent) else Items(), line)
                continue
            if isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
                collection = self._stack.pop()
                value, line = self._tagged(collection.start, collection.value), collection.start.start_mark.line + 1
            elif isinstance(event, yaml.ScalarEvent):
                value = self._tagged(event, scalars.value(event))
            elif isinstance(event, yaml.AliasEvent):
                value = self._alias(event.anchor, line)
            else:
                continue
            if self._stack:
                self._add(self._stack[-1], value, line)
            else:
                result = value
        return result

    def _open(self, event: Any, value: Any, line: int) -> None:
        if len(self._stack) >= _DEEPEST:
            raise self._error("the document is nested too deeply", line)
        self._stack.append(_Collection(value, event))
        if event.anchor:
            self._anchors[event.anchor] = value

    def _alias(self, anchor: str, line: int) -> Any:
        if anchor not in self._anchors:
            raise self._error(f"undefined alias `{anchor}`", line)
        value = self._anchors[anchor]
        if any(value is collection.value for collection in self._stack):
            raise self._error(f"the alias `{anchor}` refers to its own value", line)
        return value

    def _add(self, collection: _Collection, value: Any, line: int) -> None:
        if isinstance(collection.value, Items):
            collection.value.append(value)
            collection.value.lines.append(line)
        elif collection.key is None:
            if isinstance(value, list | dict):
                raise self._error("a key is a list or a mapping", line)
            collection.key = _key(value)
            collection.value.lines.setdefault(collection.key, line)
        else:
            key, collection.key = collection.key, None
            if key == _MERGE:
                for each in value if isinstance(value, list) else [value]:
                    self._merge(collection.value, each, line)
            else:
                collection.value[key] = value

    def _merge(self, collection: Mapping, value: Any, line: int) -> None:
        if not isinstance(value, Mapping):
            raise self._error("`<<` needs a mapping", line)
        self._nodes += len(value)
        if self._nodes > _MOST_NODES:
            raise TemplateError(f"the document has more than {_MOST_NODES:,} values", file=self._file)
        for key, each in value.items():
            collection.setdefault(key, each)
            collection.lines.setdefault(key, value.lines.get(key, line))

    def _tagged(self, event: Any, value: Any) -> Any:
        if event.tag is not None and event.tag != "!" and event.tag not in _STANDARD:
            line = event.start_mark.line + 1
            if self._tag is None:
                raise self._error(f"unknown tag `{event.tag}`", line)
            try:
                value = self._tag(event.tag, value)
            except ValueError as error:
                raise self._error(str(error), line) from error
        if event.anchor:
            self._anchors[event.anchor] = value
        return value


class _Collection:
    """A list or mapping whose end has not been read yet."""

    __slots__ = ("key", "start", "value")

    def __init__(self, value: Any, start: Any) -> None:
        self.value = value
        self.start = start
        self.key: str | None = None


class _Scalars:
    """The types of plain scalars, as PyYAML's safe loader resolves them."""

    def __init__(self) -> None:
        import yaml

        self._resolver = yaml.resolver.Resolver()
        self._constructor = yaml.constructor.SafeConstructor()
        self._node = yaml.ScalarNode

    def value(self, event: Any) -> Any:
        """Return the value of a scalar event: a string, number, boolean or ``None``."""
        plain, quoted = event.implicit
        if event.tag not in _STANDARD and (event.tag is not None or not plain):
            return event.value
        tag = event.tag or self._resolver.resolve(self._node, event.value, (plain, quoted))
        if tag in {f"{_YAML}str", f"{_YAML}timestamp", f"{_YAML}merge", f"{_YAML}value"}:
            return event.value
        if len(event.value) > _LONGEST_NUMBER:
            return event.value
        try:
            return self._constructor.construct_object(self._node(tag, event.value))
        except (ArithmeticError, LookupError, ValueError):
            return event.value


def _after_spaces(text: str, position: int) -> int:
    found = _SPACES.match(text, position)
    return position if found is None else found.end()


def _key(value: Any) -> str:
    """Return a key as a string: AWS account numbers and versions are often written without quotes."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
