"""
Evaluate the variables of the Serverless Framework, such as ``${self:custom.table}``, as far as files decide their values.

The language is documented at https://www.serverless.com/framework/docs/guides/variables (read 2026-11-28). A value that
depends on the machine or on AWS is `Unknown`. Options and environment variables count as not set, so their defaults
apply. Members of mappings and lists are evaluated when they are read, and each string is evaluated once, so that the work
does not grow faster than the files.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from lamina.core.errors import TemplateError
from lamina.core.frozen import frozen
from lamina.project.external import OWN_ACCOUNT
from lamina.project.templates.documents import Document, Items, Mapping, load
from lamina.project.templates.settings import Unknown, UnknownPart, kind, mismatch, shown
from lamina.project.templates.types import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lamina.project.templates.files import TemplateFiles

_DEEPEST = 40
_LONGEST = 1_000_000
_MOST_CHARACTERS = 16_000_000
_MOST_FILES = 100
_MOST_SEARCHES = 200
_STAGE = "dev"
_PROGRAMS = (".js", ".cjs", ".mjs", ".ts")
_START = re.compile(r"[a-z][\w.-]{0,50}(?=\(|:(?!:))", re.ASCII)
_LITERAL = re.compile(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"|-?[0-9]{1,15}(?:\.[0-9]{1,15})?|(?:true|false|null)\b", re.DOTALL)
# The characters that end a text, an address and a parameter.
_TEXT, _ADDRESS, _PARAMETER = (re.compile(r"\$\{" + end) for end in ("", "|[,}]", r"|\)"))
_SPACES = re.compile(r"\s*")


@frozen
class _Absent:
    """The result of a variable's source that has no value, so that the next source applies."""

    reason: str


@frozen
class _Address:
    """One source of a variable: a type with parameter and address, or a literal or nested variable."""

    kind: str = ""
    parameter: tuple[Any, ...] = ()
    address: tuple[Any, ...] = ()
    literal: Any = None


class Variables:
    """A service's files, and the values of the variables in them."""

    def __init__(self, path: str, files: TemplateFiles, *, tag: Callable[[str, Any], Any]) -> None:
        """Read the service *path*. *tag* converts the tags of CloudFormation; see `load`."""
        self._files = files
        self._directory = path.rpartition("/")[0]
        self._tag = tag
        self._values: dict[str, Any] = {}
        self._running: set[str] = set()
        self._places: dict[int, tuple[Document, tuple[str, ...]]] = {}
        self._documents: dict[str, Document] = {}
        self._depth = 0
        self._characters = _MOST_CHARACTERS
        self._searches = _MOST_SEARCHES
        self.service = self._load(path).value

    def value(self, written: Any) -> Any:
        """Return the value of *written*. Only a string is evaluated: the members of collections are not."""
        if not isinstance(written, str):
            return written
        if written in self._running:
            return Unknown(reason=f"`{shown(written)}` refers to itself")
        if written not in self._values:
            self._values[written] = self._evaluate(written)
        return self._values[written]

    def _evaluate(self, written: str) -> Any:
        if len(written) > _LONGEST:
            return Unknown(reason=f"the text is longer than {_LONGEST:,} characters")
        if "${" not in written:
            return written
        self._running.add(written)
        try:
            return self._join(_Parser(written).pieces(_TEXT))
        except ValueError as error:
            return Unknown(reason=f"`{shown(written)}` is not valid: {error}")
        finally:
            self._running.remove(written)

    def get(self, container: Any, *keys: str) -> Any:
        """Return the value at the path *keys* in *container*; ``None`` if it is missing or null."""
        value = self.value(container)
        for key in keys:
            if value is None or isinstance(value, Unknown):
                break
            if not isinstance(value, dict):
                return Unknown(reason=mismatch(f"a mapping with `{shown(key)}`", value))
            value = self.value(value.get(key))
        return value

    def origin(self, container: Any, key: str) -> Origin:
        """Return the place of *key* in *container*, a mapping of one of the files."""
        document, keys = self._places[id(container)]
        if isinstance(container, Mapping):
            return Origin(file=document.file, line=container.lines.get(key, container.line))
        # Each search for a line reads the JSON document from its start.
        self._searches -= 1
        return document.origin(*keys, key) if self._searches >= 0 else Origin(file=document.file)

    def item_origin(self, items: Any, index: int) -> Origin | None:
        """Return the place of the item *index* of the list *items* of one of the files; ``None`` for another value."""
        if not isinstance(items, Items) or index >= len(items):
            return None
        return Origin(file=self._places[id(items)][0].file, line=items.lines[index])

    def _load(self, path: str) -> Document:
        if path.endswith(".json"):
            # JSON is searched for the line of each function, so the limit is that of YAML.
            self._files.read(path)
        document = load(path, self._files, tag=self._tag)
        waiting: list[tuple[Any, tuple[str, ...]]] = [(document.value, ())]
        while waiting:
            value, keys = waiting.pop()
            if not isinstance(value, dict | list) or id(value) in self._places:
                continue
            self._places[id(value)] = document, keys
            if isinstance(value, dict):
                waiting += [(each, (*keys, key)[:20]) for key, each in value.items()]
            else:
                waiting += [(each, keys) for each in value]
        return document

    def _join(self, pieces: Iterable[Any]) -> Any:
        """Return the text of *pieces*, or the value with its type if there is only one variable."""
        found = [piece for piece in pieces if piece != ""]
        if len(found) == 1:
            return found[0] if isinstance(found[0], str) else self._variable(found[0])
        texts: list[str] = []
        most = min(_LONGEST, self._characters)
        unknown: Unknown | None = None
        for piece in found:
            text = piece if isinstance(piece, str) else _text(self._variable(piece))
            if isinstance(text, Unknown):
                unknown = unknown or text
                text = text.pattern if isinstance(text, UnknownPart) else "*"
            most -= len(text)
            if most < 0:
                return Unknown(reason="the text with all variables replaced is too long")
            texts.append(text)
        joined = "".join(texts)
        self._characters -= len(joined)
        return joined if unknown is None else UnknownPart(reason=unknown.reason, pattern=joined)

    def _variable(self, sources: tuple[_Address, ...]) -> Any:
        """Return the value of the first of *sources* that has one."""
        if self._depth >= _DEEPEST:
            return Unknown(reason=f"variables refer to each other more than {_DEEPEST} levels deep")
        self._depth += 1
        try:
            results = []
            for source in sources:
                result = self._source(source)
                if not isinstance(result, _Absent):
                    return result
                results.append(result)
            # Like `${sls:stage}`, the option is the stage of the provider by default.
            if any(source.kind == "opt" and source.address == ("stage",) for source in sources):
                return self._stage()
            return Unknown(reason=results[0].reason)
        finally:
            self._depth -= 1

    def _source(self, source: _Address) -> Any:
        if not source.kind:
            return self._variable(source.literal) if isinstance(source.literal, tuple) else source.literal
        address, parameter = _text(self._join(source.address)), self._join(source.parameter)
        for each in (address, parameter):
            if isinstance(each, Unknown):
                return each
        return self._lookup(source.kind, _text(parameter), address)

    def _lookup(self, source: str, parameter: Any, address: str) -> Any:
        """Return the value at *address* of the source *source*, such as ``self``."""
        match source:
            case "self":
                value = self._self(address)
            case "file":
                value = parameter if isinstance(parameter, Unknown) else self._file(parameter, address)
            case "param":
                value = self._parameter(address)
            case "env":
                value = _Absent(reason=f"environment variable `{shown(address)}` has no default")
            case "opt":
                value = _Absent(reason=f"option `--{shown(address)}` has no default")
            case "sls" if address == "stage":
                value = self._stage()
            case "strToBool":
                value = _boolean(parameter)
            case _:
                reason = f"the deployment decides `{source}:{shown(address)}`"
                pattern = OWN_ACCOUNT if (source, address) == ("aws", "accountId") else "*"
                value = UnknownPart(reason=reason, pattern=pattern)
        return value

    def _self(self, address: str) -> Any:
        value = self._walk(self.service, address.split(".") if address else [])
        if value is None and address == "provider.stage":
            return _STAGE
        return _Absent(reason=f"`{shown(address)}` has no value") if value is None else value

    def _walk(self, start: Any, keys: list[str]) -> Any:
        value = self.value(start)
        for key in keys:
            if isinstance(value, dict):
                value = self.value(value.get(key))
            elif isinstance(value, list) and re.fullmatch(r"[0-9]{1,6}", key) and int(key) < len(value):
                value = self.value(value[int(key)])
            else:
                return value if isinstance(value, Unknown) else None
        return value

    def _stage(self) -> Any:
        # https://www.serverless.com/framework/docs/guides/variables/core: the provider's stage, or ``dev`` (read 2026-11-28).
        provider = self.get(self.service, "provider")
        written = provider.get("stage") if isinstance(provider, dict) else None
        if isinstance(written, str) and written in self._running:
            return _STAGE
        value = self.value(written)
        return _STAGE if value is None else value

    def _parameter(self, name: str) -> Any:
        # The order of https://www.serverless.com/framework/docs/guides/parameters (read 2026-11-28).
        stage = _text(self._stage())
        if isinstance(stage, Unknown):
            return stage
        for each in (stage, "default"):
            for keys in (["params", each, name], ["stages", each, "params", name]):
                value = self._walk(self.service, keys)
                if value is not None:
                    return value
        return _Absent(reason=f"parameter `{shown(name)}` has no value in the file")

    def _file(self, written: str, address: str) -> Any:
        document = self._document(written.strip("'\""), shown(written))
        if not isinstance(document, Document):
            return document
        value = self._walk(document.value, address.split(".") if address else [])
        return _Absent(reason=f"`{shown(written)}` has no `{shown(address)}`") if value is None else value

    def _document(self, written: str, name: str) -> Document | Unknown | _Absent:
        """Return the content of the file *written*, or why there is none."""
        path = self._files.join(self._directory, written)
        problem = None
        if path is None:
            problem = "is outside the project"
        elif path.endswith(_PROGRAMS):
            problem = "is a program, which lamina does not run"
        elif not path.endswith((".yml", ".yaml", ".json")):
            problem = "is neither YAML nor JSON"
        elif path not in self._documents and len(self._documents) >= _MOST_FILES:
            problem = f"is one of more than {_MOST_FILES} files"
        if problem is not None or path is None:
            return Unknown(reason=f"`{name}` {problem}")
        try:
            if not self._files.is_file(path):
                return _Absent(reason=f"`{name}` does not exist")
            return self._documents.get(path) or self._documents.setdefault(path, self._load(path))
        except TemplateError as error:
            return Unknown(reason=str(error))


class _Parser:
    """A parser of the variables in one string. It reads each character once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def pieces(self, end: re.Pattern[str]) -> tuple[Any, ...]:
        """Return the texts and variables up to *end*. Raises ValueError for invalid variables."""
        found: list[Any] = []
        while True:
            match = end.search(self._text, self._at)
            piece = self._text[self._at : match.start() if match else None]
            self._at += len(piece)
            if match is None or match.group() != "${":
                return (*found, piece)
            # An odd number of backslashes escapes the variable.
            before = piece.rstrip("\\")
            slashes = len(piece) - len(before)
            found.append(before + "\\" * (slashes // 2))
            self._at = match.end()
            if slashes % 2 or not _START.match(self._text, self._at):
                # Texts such as `${AWS::Region}` belong to CloudFormation.
                found.append("${")
            else:
                found.append(self._variable())

    def _variable(self) -> tuple[_Address, ...]:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("variables are nested too deeply")
        sources = [self._source()]
        while self._next() == ",":
            self._at += 1
            sources.append(self._source())
        if self._next() != "}":
            raise ValueError("a `}` is missing")
        self._at += 1
        self._depth -= 1
        return tuple(sources)

    def _next(self) -> str:
        """Skip spaces, and return the next character; an empty string at the end."""
        spaces = _SPACES.match(self._text, self._at)
        self._at = spaces.end() if spaces else self._at
        return self._text[self._at : self._at + 1]

    def _source(self) -> _Address:
        self._next()
        if self._text.startswith("${", self._at):
            self._at += 2
            return _Address(literal=self._variable())
        start = _START.match(self._text, self._at)
        if start is None:
            return _Address(literal=self._literal())
        self._at = start.end()
        parameter: tuple[Any, ...] = ()
        if self._next() == "(":
            self._at += 1
            parameter = _stripped(self.pieces(_PARAMETER))
            self._at += 1
        return _Address(kind=start.group(), parameter=parameter, address=self._address())

    def _address(self) -> tuple[Any, ...]:
        if self._next() != ":":
            return ()
        self._at += 1
        if self._next() in {"'", '"'}:
            return (self._literal(),)
        return _stripped(self.pieces(_ADDRESS))

    def _literal(self) -> Any:
        found = _LITERAL.match(self._text, self._at)
        if found is None:
            at = shown(self._text[self._at : self._at + 200])
            raise ValueError(f"a value is expected at `{at}`; texts need quotes")
        self._at = found.end()
        text = found.group()
        # The other literals are those of JSON.
        return text[1:-1] if text.startswith("'") else json.loads(text, strict=False)


def _stripped(pieces: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return *pieces* without the spaces around them."""
    found = list(pieces)
    found[0] = found[0].lstrip()
    found[-1] = found[-1].rstrip()
    return tuple(piece for piece in found if piece != "")


def _text(value: Any) -> Any:
    """Return a scalar as the text that a variable inserts; `Unknown` for other types."""
    if isinstance(value, str | Unknown):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float) and abs(value) < 1e15:
        return str(int(value) if value == int(value) else value)
    return Unknown(reason=f"a variable in a text is {kind(value)}")


def _boolean(value: Any) -> Any:
    if isinstance(value, Unknown):
        return value
    words = {"true": True, "1": True, "false": False, "0": False}
    return words.get(value.lower(), Unknown(reason=f"`{shown(value)}` is not a boolean"))
