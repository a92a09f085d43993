"""
Parse Terraform's configuration language with the grammar of python-hcl2, after a linear scan that makes hostile files safe.

The scan checks brackets, strings and heredocs, limits the nesting, removes comments and splits a file into top-level blocks, so
that only blocks that matter are parsed: the parser reads 80 to 170 kB per second and the scan about 4 MB (2026-11). It
writes heredocs as strings, because the grammar's expressions for heredocs need quadratic time for some texts.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from lamina.core.errors import TemplateError
from lamina.core.frozen import frozen
from lamina.core.store import Store, key_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lark import Lark, Tree

FILE_BYTES = 500_000
"""The largest file that is scanned, which takes up to 0.8 s for a file of brackets (measured 2026-11)."""
_DEEPEST = 60
_AREA = "grammars"
_TABLES = 1
# The first group is a heredoc's `-`, the second its marker. Bounded: real markers are short.
_CODE = re.compile(r'#|//|/\*|<<(-?)([A-Za-z][\w.-]{0,100})[ \t]*\r?\n|["(){}\[\]]')
_TEMPLATE = re.compile(r'\\.|\$\$\{|%%\{|[$%]\{|["\n]')
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_INDENTATION = re.compile(r"[ \t]*")


@frozen
class Attribute:
    """The expression of an argument: a tree of the grammar, or a value of a JSON file."""

    expression: Any
    line: int | None


@frozen
class Body:
    """The content of a parsed block. Blocks in JSON files are arguments, like objects."""

    attributes: Mapping[str, Attribute]
    blocks: Mapping[str, tuple[Body, ...]]
    file: str
    line: int | None


@frozen
class Block:
    """A top-level block."""

    kind: str
    """The type, such as ``resource``."""
    labels: tuple[str, ...]
    file: str
    line: int | None
    text: str = ""
    """The source, which has not been parsed."""
    body: Body | None = None
    """The content if it is from a JSON file."""


def error(file: str, line: int | None, problem: str) -> TemplateError:
    """Return the error for *problem* in *file*."""
    return TemplateError(f"not valid Terraform: {problem}", file=file, line=line)


@cache
def _parser(root: Path) -> Lark:
    """
    Return a parser with the grammar of python-hcl2, whose tables are kept in the store at *root*.

    Building the tables takes 0.7 to 2 s, and loading them 0.1 s (measured 2026-11). `hcl2.parser` keeps them as a pickle beside
    its own code. lamina keeps them as JSON, because it loads no pickles and does not write there.
    """
    import hcl2
    import lark
    from hcl2.postlexer import PostLexer
    from hcl2.version import __version__ as grammar_version

    store = Store.open(root)
    place = store.entry(_AREA, key_of(_TABLES, grammar_version, lark.__version__), ".json")

    def load(tables: dict[str, Any]) -> Lark:
        try:
            loaded: Lark = lark.Lark._load_from_dict(tables["data"], tables["memo"], postlex=PostLexer())  # type: ignore[no-untyped-call]  # noqa: SLF001 - lark's standalone parsers call it
        except lark.exceptions.LarkError as error:
            raise ValueError("the tables of another version of lark") from error
        return loaded

    if (loaded := store.read_document(place, load, pairs=_with_numbers)) is not None:
        return loaded
    parser = lark.Lark.open(
        "hcl2.lark", rel_to=hcl2.__file__, parser="lalr", postlex=PostLexer(), propagate_positions=True, cache=False
    )
    data, memo = parser.memo_serialize([lark.lexer.TerminalDef, lark.grammar.Rule])
    # `PostLexer` is passed again when the tables are loaded.
    store.write_document(place, {"data": data, "memo": memo}, default=lambda _: None)
    return parser


def _with_numbers(pairs: list[tuple[str, Any]]) -> dict[Any, Any]:
    """Return a JSON object whose keys are numbers again where they were, because JSON writes them as strings."""
    return {int(key) if key.isdigit() else key: value for key, value in pairs}


def parse(text: str, file: str, line: int, store: Store) -> Body:
    """Return the content of *text*, which `scan` has returned and which starts on *line* of *file*."""
    from lark.exceptions import UnexpectedInput

    try:
        tree = _parser(store.root).parse(text + "\n")
    except UnexpectedInput as failure:
        at = failure.line if failure.line > 0 else text.count("\n") + 1
        raise error(file, line + at - 1, "unexpected text") from None
    return _body(_subtree(tree, "body"), file, line - 1)


def parse_template(text: str, file: str, store: Store) -> Any:
    """Return the expression of the string *text* in a JSON file, which can have interpolations."""
    quoted = '"' + _Scan(text, file, template=True).run() + '"'
    return parse(f"value = {quoted}", file, 1, store).attributes["value"].expression


def scan(text: str, file: str) -> tuple[str, list[Block]]:
    """Return *text* without comments and heredocs, and its top-level blocks. Raises `TemplateError` with the line."""
    scanner = _Scan(text, file)
    return scanner.run(), scanner.blocks


def _subtree(tree: Tree[Any], name: str) -> Tree[Any]:
    return next(each for each in trees(tree) if each.data == name)


def trees(tree: Tree[Any]) -> list[Tree[Any]]:
    """Return the parts of *tree* without tokens, line ends and comments."""
    return [each for each in tree.children if not isinstance(each, str) and each.data != "new_line_or_comment"]


def tuple_items(tree: Any) -> list[Tree[Any]]:
    """Return the items of the expression *tree* if it is a list; nothing for another expression, or a value of a JSON file."""
    while getattr(tree, "data", None) == "expr_term" and len(trees(tree)) == 1:
        tree = trees(tree)[0]
    return trees(tree) if getattr(tree, "data", None) == "tuple" else []


def word(tree: Tree[Any]) -> str:
    """Return the text of an identifier or keyword, or of a string without interpolations."""
    if tree.data == "string":
        return "".join(str(part.children[0]) for part in trees(tree) if isinstance(part.children[0], str))
    return str(tree.children[0])


def _body(tree: Tree[Any], file: str, offset: int) -> Body:
    attributes: dict[str, Attribute] = {}
    blocks: dict[str, tuple[Body, ...]] = {}
    for each in trees(tree):
        parts, line = trees(each), each.meta.line + offset
        name = ".".join(map(word, parts[:-1]))
        if each.data == "attribute":
            attributes.setdefault(name, Attribute(expression=parts[1], line=line))
        else:
            inner = _body(parts[-1], file, offset)
            blocks[name] = (*blocks.get(name, ()), Body(**{**_fields(inner), "line": line}))
    return Body(attributes=attributes, blocks=blocks, file=file, line=None)


def _fields(body: Body) -> dict[str, Any]:
    return {"attributes": body.attributes, "blocks": body.blocks, "file": body.file}


class _Scan:
    """One pass over a file: a stack of open brackets and templates, and the text for the parser."""

    def __init__(self, text: str, file: str, *, template: bool = False) -> None:
        self.blocks: list[Block] = []
        self._text, self._file = text, file
        self._parts: list[str] = []
        self._stack: list[_Open] = [_Open("json", 0, len(text))] if template else []
        self._position = self._line_at = 0
        self._line = 1
        # The first part of the current top-level block, and of its content.
        self._start = self._content = 0

    def run(self) -> str:
        """Scan the whole text."""
        while self._step():
            pass
        if self._stack and self._stack[-1].kind != "json":
            opened = self._stack[-1]
            raise self._error(f"`{opened.kind}` is not closed", opened.position)
        return "".join(self._parts)

    def _step(self) -> bool:
        top = self._stack[-1] if self._stack else None
        return self._template(top) if top is not None and top.end >= 0 else self._code()

    def _code(self) -> bool:
        match = _CODE.search(self._text, self._position)
        if match is None:
            self._parts.append(self._text[self._position :])
            self._position = len(self._text)
            return False
        self._parts.append(self._text[self._position : match.start()])
        self._position, found = match.end(), match[0]
        if found in {"#", "//"}:
            self._position = self._find("\n", match.start())
        elif found == "/*":
            self._position = self._find("*/", match.end(), match.start()) + 2
            self._parts.append(" " + "\n" * self._text.count("\n", match.start(), self._position))
        elif found == '"':
            self._parts.append(found)
            self._push(found, match.start(), len(self._text))
        elif match[2]:
            self._heredoc(match)
        elif found in _CLOSING:
            self._open(found, match.start())
        else:
            self._close(found, match.start())
        return True

    def _find(self, end: str, start: int, opened: int | None = None) -> int:
        found = self._text.find(end, start)
        if found < 0 and opened is not None:
            raise self._error("the comment is not closed", opened)
        return found if found >= 0 else len(self._text)

    def _open(self, bracket: str, position: int) -> None:
        if not self._stack:
            self._content = len(self._parts)
        self._parts.append(bracket)
        self._push(bracket, position, -1)

    def _close(self, bracket: str, position: int) -> None:
        opened = self._stack.pop() if self._stack else None
        if opened is None or _CLOSING.get(opened.kind[-1]) != bracket:
            raise self._error(f"unexpected `{bracket}`", position)
        self._parts.append(bracket)
        if not self._stack:
            self._end_block(position)

    def _end_block(self, end: int) -> None:
        header = "".join(self._parts[self._start : self._content])
        words = header.replace('"', " ").split() if len(header) < 1000 else []
        if words:
            text = "".join(self._parts[self._start :]).lstrip()
            line = self._line_of(end) - text.count("\n")
            self.blocks.append(
                Block(kind=words[0], labels=tuple(words[1:]), file=self._file, line=line, text=text),
            )
        self._start = len(self._parts)

    def _push(self, kind: str, position: int, end: int, indentation: int = 0) -> None:
        if len(self._stack) >= _DEEPEST:
            raise self._error("expressions are nested too deeply", position)
        self._stack.append(_Open(kind, position, end, indentation))

    def _template(self, top: _Open) -> bool:
        match = _TEMPLATE.search(self._text, self._position, top.end)
        quoted = top.kind == '"'
        stop = top.end if match is None else match.start()
        self._literal(top, self._text[self._position : stop])
        self._position = stop if match is None else match.end()
        found = "" if match is None else match[0]
        if match is not None and found in {"${", "%{"}:
            self._parts.append(found)
            self._push(found, match.start(), -1)
        elif quoted and found in {"", "\n"}:
            raise self._error("the string is not closed", top.position)
        elif quoted and found == '"':
            self._parts.append(found)
            self._stack.pop()
        elif found:
            self._literal(top, found)
        elif top.kind == "json":
            return False
        else:
            self._end_heredoc(top)
        return True

    def _literal(self, top: _Open, text: str) -> None:
        """Append text of a template, with escapes unless it is from a quoted string."""
        if top.kind != '"':
            text = text.replace("\\", "\\\\").replace('"', '\\"')
        if top.skip and text.startswith((" ", "\t")):
            spaces = _INDENTATION.match(text)
            text = text[min(top.indentation, 0 if spaces is None else spaces.end()) :]
        if text:
            top.skip = text == "\n" and top.indentation > 0
            self._parts.append(text)

    def _heredoc(self, match: re.Match[str]) -> None:
        """Write the heredoc whose first line is *match* as a string with the same number of lines."""
        start = end = match.end()
        indentations = []
        while end < len(self._text):
            following = self._find("\n", end) + 1
            line = self._text[end:following]
            if line.strip() == match[2]:
                break
            spaces = _INDENTATION.match(line)
            if spaces is not None and line.strip():
                indentations.append(spaces.end())
            end = following
        if end >= len(self._text):
            raise self._error(f"the heredoc `{match[2]}` is not closed", match.start())
        self._parts.append('"')
        self._push(match[2], match.start(), end, min(indentations, default=0) if match[1] else 0)
        self._position = start

    def _end_heredoc(self, top: _Open) -> None:
        # A line ending before the string would end the attribute; after it, two are the same as one.
        self._parts.append('"\n')
        self._stack.pop()
        self._position = self._find("\n", top.end)

    def _line_of(self, position: int) -> int:
        """Return the line of *position*, which is not before the position of the previous call."""
        self._line += self._text.count("\n", self._line_at, position)
        self._line_at = max(position, self._line_at)
        return self._line

    def _error(self, problem: str, position: int) -> TemplateError:
        return error(self._file, self._text.count("\n", 0, position) + 1, problem)


class _Open:
    """An open bracket or template. *end* is the position where a template ends at the latest; -1 for code."""

    __slots__ = ("end", "indentation", "kind", "position", "skip")

    def __init__(self, kind: str, position: int, end: int, indentation: int = 0) -> None:
        self.kind, self.position, self.end, self.indentation = kind, position, end, indentation
        self.skip = indentation > 0


def unescape(text: str) -> str:
    """Return the characters for the literal *text* of a quoted template."""
    if text.startswith(("$${", "%%{")):
        return text[1:]
    return _ESCAPE.sub(_character, text) if "\\" in text else text


_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_CHARACTERS: dict[str, str] = {"n": "\n", "r": "\r", "t": "\t"}


def _character(match: re.Match[str]) -> str:
    code = int(match[1] or match[2] or "0", 16)
    if match[3] is not None:
        return _CHARACTERS.get(match[3], match[3])
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\N{REPLACEMENT CHARACTER}"
