"""
Collect every message in lamina's sources and render it with sample values, so that all can be read in one place.

``python tests/messages.py`` writes the snapshot ``tests/repository/messages.txt``. A test compares the snapshot with
the sources, so a changed message shows up in the review of the change.

The sources are parsed, not run. A *message* is:

- the text and the hint of every error: each call of a class that ends in ``Error``, ``Refused`` or ``Failed``
- the text of every finding, with its rule
- the text of every note, warning and stage of progress
- every other string of three words or more outside docstrings and help texts: parts of the above, and output
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "lamina"
SNAPSHOT = ROOT / "tests" / "repository" / "messages.txt"

SAMPLES: dict[str, str] = {
    "account": "111122223333",
    "action": "lambda:PublishLayerVersion",
    "alias": "live",
    "architecture": "arm64",
    "architectures": "arm64 and x86_64",
    "bucket": "acme-layers",
    "chain": "dev → test → dev",
    "choices": "`none`, `reachable` and `all`",
    "command": "uv lock",
    "commit": "0a1b2c3d4e5f",
    "digest": "cfa3ebc46b0728ad",
    "directory": "services/orders",
    "doing": "publish layer `common` in eu-west-1",
    "error": "No such file or directory",
    "extra": "aws",
    "filename": "idna-3.11-py3-none-any.whl",
    "file": "pyproject.toml",
    "function": "create-order",
    "functions": "3",
    "glibc": "2.34",
    "group": "dev",
    "handler": "service.handlers.create_order.lambda_handler",
    "hint": "run `uv lock`",
    "key": "functions.create-order.handler",
    "kind": "TOML file",
    "latest": "$LATEST",
    "layer": "common",
    "limit": "262144000",
    "listed": "`numpy`, `pandas`",
    "locker": "uv",
    "magic": "f30d0d0a",
    "module": "service.orders",
    "name": "common",
    "named": "`poetry.lock`, `uv.lock`",
    "names": "`numpy`, `pandas`",
    "number": "7",
    "operation": "PublishLayerVersion",
    "other": "shared",
    "path": "service/orders.py",
    "pattern": "tests/**",
    "platform": "python3.13 on arm64",
    "project": "services/orders",
    "python": "3.13",
    "reason": "the connection was refused",
    "region": "eu-west-1",
    "request_id": "5f0c62a1",
    "requirement": "numpy>=2",
    "requires_python": ">=3.13",
    "role": "arn:aws:iam::111122223333:role/orders",
    "root": "services/orders",
    "rule": "size-limit",
    "runtime": "python3.13",
    "scheme": "headers",
    "seconds": "30",
    "service": "orders",
    "machine": "riscv64",
    "minor": "3.13",
    "previous": "numpy/random.py",
    "problem": "includes itself",
    "qualname": "layer",
    "sha256": "2f40fc8d76738d5b",
    "size": "57916643",
    "source": "service",
    "status": "403",
    "storage": "copy",
    "strerror": "Permission denied",
    "subject": "`create-order` with layer `common`",
    "target": "python3.13 on arm64",
    "text": "half",
    "unit": "ms",
    "url": "https://index.example/simple/numpy/",
    "value": "half",
    "verb": "change",
    "version": "2.3.5",
    "wheel": "idna-3.11-py3-none-any.whl",
    "zipped_bytes": "57916643",
    "unzipped_bytes": "152321234",
}
"""What a placeholder becomes, by the last name in its expression; a name that is missing here stands for itself."""

SUBPACKAGES: dict[str, dict[str, str]] = {
    "archive": {
        "name": "idna-3.11-py3-none-any.whl",
        "path": "numpy/linalg.py",
        "kind": "wheel",
    },
    "aws": {
        "name": "create-order",
        "path": ".lamina/layers/common.zip",
        "version": "12",
        "source": ".lamina/layers/common.zip",
    },
    "bytecode": {"name": "3.13"},
    "cli": {"action": "size"},
    "fetch": {"name": "numpy", "path": "wheels/numpy.whl"},
    "local": {"name": "create-order"},
    "lock": {"name": "numpy", "path": "uv.lock", "kind": "Mercurial"},
    "project": {"name": "create-order", "path": "pyproject.toml"},
}
"""Samples that differ in one subpackage."""

_CALLS: Mapping[str, str] = {
    "len": "3",
    "sorted": "`numpy`, `pandas`",
    "megabytes": "57.92 MB",
    "_bytes": "57.92 MB",
    "did_you_mean": " (did you mean `common`?)",
    "listed": "`numpy`, `pandas`",
    "_listed": "numpy-2.3.5-py3-none-any.whl",
    "redacted": "https://index.example/simple/numpy/",
    "_worded": "numpy 2.3.5",
    "worded": "numpy 2.3.5",
    "environment_variable": "LAMINA_PYTHON_3_13",
    "install_command": "pip install 'lamina[aws]'",
}
_ERROR = re.compile(r"(?:Error|Refused|Failed)$")
_OUTPUT = {"note": "note", "warn": "warning", "stage": "progress", "say": "output", "print": "output"}
_FINDINGS = {"error", "warning", "note"}
_PROSE = re.compile(r"[A-Za-z`][\w`'.,]* [\w`({][^ ]* [\w`({]")
_MARKUP = re.compile(r"</?\w|[;{]$|^import ", re.MULTILINE)
_SENTINEL = "\0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One message of the program, rendered with sample values."""

    module: str
    """The module's path below `src/lamina`."""
    line: int
    kind: str
    """``error``, ``finding``, ``note``, ``warning``, ``progress``, ``output`` or ``text``."""
    texts: tuple[str, ...]
    """One rendered text; two where the message has a condition."""
    hints: tuple[str, ...] = ()
    """The rendered hint; two hints where it has a condition."""


def collect(sources: Path = SOURCES) -> list[Message]:
    """Return the messages of every module below *sources*, in the order of files and lines."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in sorted(sources.rglob("*.py"))}
    constants = {name: text for tree in trees.values() for name, text in _constants(tree)}
    return [
        message
        for path, tree in trees.items()
        for message in sorted(
            _Module(path.relative_to(sources).as_posix(), tree, constants | dict(_constants(tree))).messages(),
            key=lambda each: each.line,
        )
    ]


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each constant of a module, for hints that are passed by name."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                yield name, text
            case _:
                pass


def snapshot(messages: Iterable[Message]) -> str:
    """Return *messages* as the text of the snapshot: one block per module."""
    lines: list[str] = []
    module = ""
    for message in messages:
        if message.module != module:
            module = message.module
            lines += ["", f"[{module}]"]
        lines += [f"{message.kind}: {_indented(text)}" for text in message.texts]
        lines += [f"  hint: {_indented(hint)}" for hint in message.hints]
    return "\n".join(lines).lstrip("\n") + "\n"


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")


class _Module:
    """The messages of one module."""

    def __init__(self, module: str, tree: ast.Module, constants: Mapping[str, str]) -> None:
        self._module = module
        self._tree = tree
        samples = SAMPLES | SUBPACKAGES.get(self._module.partition("/")[0], {})
        self._renderings = [_Rendering(samples=samples, constants=constants, other=other) for other in (False, True)]
        self._done: set[int] = set()
        for node in _not_messages(self._tree):
            self._done.update(map(id, ast.walk(node)))

    def messages(self) -> Iterator[Message]:
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Call) and (message := self._call(node)):
                yield message
        for node in ast.walk(self._tree):
            if id(node) in self._done or not isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
                continue
            texts = self._texts(node)
            if texts and _PROSE.search(texts[0]) and not _MARKUP.search(texts[0]):
                self._done.update(map(id, ast.walk(node)))
                yield self._message(node, "text", texts)

    def _call(self, node: ast.Call) -> Message | None:
        name = _tail(node.func)
        is_method = isinstance(node.func, ast.Attribute)
        hints = next((self._texts(each.value) for each in node.keywords if each.arg == "hint"), ())
        kind = ""
        texts: tuple[str, ...] = ()
        if _ERROR.search(name) and node.args:
            kind, texts = "error", self._texts(node.args[0])
        elif name in _OUTPUT and (is_method or name == "print") and node.args:
            kind, texts = _OUTPUT[name], self._texts(node.args[0])
        elif name in _FINDINGS and not is_method and len(node.args) == 3:
            kind, texts = f"finding {self._renderings[0].words(node.args[0])}", self._texts(node.args[2])
        if not texts or not re.search(r"[a-z]{2}", texts[0]):
            return None
        self._done.update(map(id, ast.walk(node)))
        return self._message(node, kind, texts, hints)

    def _texts(self, node: ast.expr) -> tuple[str, ...]:
        """Return the text that *node* builds; two texts if it has a condition, none if it is not a text."""
        found = dict.fromkeys(rendering.words(node) for rendering in self._renderings)
        return tuple(text for text in found if _SENTINEL not in text)

    def _message(self, node: ast.expr, kind: str, texts: tuple[str, ...], hints: tuple[str, ...] = ()) -> Message:
        return Message(module=self._module, line=node.lineno, kind=kind, texts=texts, hints=hints)


def _not_messages(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the docstrings in *tree*, and the help texts, which `docs/reference/commands.md` shows."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant()) | ast.keyword(arg="help" | "description" | "epilog"):
                yield node
            case _:
                pass


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rendering:
    """The texts that expressions build from sample values."""

    samples: Mapping[str, str]
    constants: Mapping[str, str]
    """The text of each constant of the sources, by name."""
    other: bool
    """Whether each condition takes its second branch."""

    def words(self, node: ast.expr) -> str:  # noqa: PLR0911 - one return for each kind of expression
        """Render *node*, with a sentinel for each part that is not a text."""
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.Name(id=name) if name in self.constants:
                return self.constants[name]
            case ast.JoinedStr(values=values):
                return "".join(map(self.words, values))
            case ast.FormattedValue(value=value, format_spec=specification):
                return _formatted(self._value(value), self.words(specification) if specification else "")
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                parts = (self.words(left), self.words(right))
                return "".join(part for part in parts if part != _SENTINEL) or _SENTINEL
            case ast.IfExp(body=body, orelse=orelse):
                return self.words(orelse if self.other else body)
            case _:
                return _SENTINEL

    def _value(self, node: ast.expr) -> str:  # noqa: PLR0911 - one return for each kind of expression
        match node:
            case ast.IfExp() | ast.JoinedStr() | ast.Constant(value=str()):
                return self.words(node)
            case ast.BoolOp(values=[first, *_, last]):
                return self._value(last if self.other else first)
            case ast.Call(func=ast.Name(id="count"), args=[_, ast.Constant(value=str(noun))]):
                return f"1 {noun}" if self.other else f"3 {noun}s"
            case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(separator)), attr="join"), args=[argument]):
                return separator.join(self._items(argument))
            case ast.Call(func=function):
                return _CALLS.get(_tail(function), self._sample(_tail(function)))
            case ast.Subscript(value=value, slice=ast.Constant(value=int(index))) if "." in self._sample(_tail(value)):
                # A part of a version, such as `target.python[0]`.
                return self._sample(_tail(value)).split(".")[index]
            case ast.Attribute() | ast.Name() | ast.Subscript():
                return self._sample(_tail(node))
            case _:
                return self._sample(ast.unparse(node))

    def _items(self, node: ast.expr) -> list[str]:
        match node:
            case ast.GeneratorExp(elt=element) | ast.ListComp(elt=element):
                return [self._value(element)]
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                return list(map(self._value, elements))
            case _:
                return [self._value(node)]

    def _sample(self, name: str) -> str:
        plain = name.strip("_").lower()
        return self.samples.get(plain, plain.replace("_", " "))


def _tail(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value, slice=ast.Constant(value=str(key))):
            return key if key in SAMPLES else _tail(value)
        case ast.Subscript(value=value) | ast.Call(func=value):
            return _tail(value)
        case _:
            return ""


def _formatted(text: str, specification: str) -> str:
    """Return *text* as *specification* formats a number, or a number where *text* is none and *specification* needs one."""
    kind = specification[-1:]
    if kind not in {",", "f", "%"}:
        return text
    number = text if text.isdecimal() else {",": "1234", "f": "12.5", "%": "0.58"}[kind]
    return format(float(number) if kind in "f%" else int(number), re.sub(r"[^\d.,f%]", "", specification))


if __name__ == "__main__":
    SNAPSHOT.write_text(snapshot(collect()), "utf-8")
    sys.stderr.write(f"wrote {SNAPSHOT.relative_to(ROOT)}\n")
