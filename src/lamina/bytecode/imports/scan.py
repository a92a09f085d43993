"""
Find the imports of one Python source, without running the source and without a list of existing modules.

Relative names, attributes and tables of names are returned as written; `lamina.bytecode.imports.resolve` resolves them.

An interpreter of the target's minor version also runs the text of this module, for two reasons. Only that version is sure
to parse the target's sources, and the result must not depend on the interpreter that runs lamina. Therefore this module
imports nothing else of lamina, and must run on CPython 3.9. The program ``module_worker.py`` executes it there.
"""

from __future__ import annotations

import sys

# A program that is passed as a string imports from its working directory first. Remove that entry.
sys.path[:] = [entry for entry in sys.path if entry]

import ast  # noqa: E402
import json  # noqa: E402
import re  # noqa: E402
import warnings  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from typing import TYPE_CHECKING, Any, NamedTuple, Optional  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

REQUIRED, OPTIONAL, POSSIBLE, CREATED = "", "optional", "possible", "created"
REPLACED, FALLBACK, MAYBE_FALLBACK = "replaced", "fallback", "maybe fallback"
"""
Whether the code needs an import, apart from its scope: `REQUIRED` always, `OPTIONAL` under a condition or in a ``try``.

A `REPLACED` import has a `FALLBACK` in the ``except`` clause, which follows it in the scan. A `MAYBE_FALLBACK` is under a
further condition there. `POSSIBLE` and `CREATED` are not statements: a name that may be imported, and a string that may name a
module that the source puts into ``sys.modules``.
"""
_DYNAMIC = (
    *(b"import_module", b"__import__", b"__getattr__", b"entry_points", b"find_spec"),
    *(b"lazy_loader", b"LazyLoader", b"lazy_import", b"resolve_name"),
)
"""The names without which a source has no dynamic imports. Searching for each takes less time than one expression."""
_NAME = re.compile(r"\.*[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?::[A-Za-z_][\w.]*)?")
_IMPORTING_CALLS = frozenset({"import_module", "__import__", "find_spec", "resolve_name", "LazyLoader", "lazy_import"})
# The functions that fail at once if the module does not exist. A source may define others with the same last name.
_FAILING_CALLS = frozenset({"importlib.import_module", "importlib.__import__", "builtins.__import__", "__import__"})
# Expressions of which a part runs later or not at all.
# The parser also raises MemoryError for code that is nested too deeply. A source of this size cannot exhaust the memory.
SMALL_BYTES = 65536
_CONDITIONAL = frozenset({ast.BoolOp, ast.GeneratorExp, ast.IfExp, ast.Lambda})
# Context managers that suppress no error. Others may, such as `contextlib.suppress` or one that collects errors.
_PASSING = frozenset({"open", "catch_warnings", "nullcontext", "redirect_stdout", "redirect_stderr"})
_IMPORT_ERRORS = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
# A source with more names than this is a table of other data, such as a language.
_MANY_NAMES = 2000
_LONG_NAME = 200
# The number of chained attributes that are tried as submodules.
_DEEP = 3
# Facts about the target, in the form in which sources test them. Lambda runs CPython on Linux.
_FACTS = {
    "sys.platform": "linux",
    "os.name": "posix",
    "platform.system()": "Linux",
    "platform.python_implementation()": "CPython",
    "sys.implementation.name": "cpython",
}
# The names that are true only for type checkers.
_TYPE_CHECKING = frozenset({"TYPE_CHECKING", "MYPY"})
# The operator with the same result if the sides of a comparison are exchanged.
_MIRRORED: dict[type[ast.cmpop], ast.cmpop] = {
    ast.Eq: ast.Eq(),
    ast.NotEq: ast.NotEq(),
    ast.Lt: ast.Gt(),
    ast.Gt: ast.Lt(),
    ast.LtE: ast.GtE(),
    ast.GtE: ast.LtE(),
}
# Statements with blocks, apart from those that `_SourceWalk.statements` names. Python 3.9 has neither of the last two.
_BLOCKS = (
    *(ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith),
    *(getattr(ast, name) for name in ("Match", "TryStar") if hasattr(ast, name)),
)
# Fields of syntax tree nodes that never contain names or strings: operators and contexts.
_LEAVES = frozenset({"ctx", "op", "ops"})
_NODES: dict[type[Any], tuple[str, ...]] = {type(None): ()}
_CREATING = re.compile(
    rb"(?<![\w.])(?:_?sys\.)?modules\s*(?:\[[^]\n]{1,200}\]+\s*=(?!=)|\.(?:setdefault|update|__setitem__)\b)"
)
"""A statement that puts a module into ``sys.modules``."""
_DOTTED = re.compile(rb"[\w.]+")
_VERSION = re.compile(r"(?:sys\.)?version_info(\[0\]|\[:2\]|\.major)?")


class ImportStatement(NamedTuple):
    """One import as written: ``from ..module import names`` has level 2."""

    module: str
    level: int = 0
    names: tuple[str, ...] = ()
    """The submodules or attributes imported from the module; ``*`` for all."""
    scope: str = ""
    """
    The outermost function or class that contains the import; empty for top-level code.

    The import runs only if that function or class is used.
    """
    quoted: bool = False
    """Whether the import is not a statement, but a string that looks like the dotted path of a module or object."""
    need: str = REQUIRED
    """Whether the code in *scope* needs the import: `REQUIRED`, `OPTIONAL`, `REPLACED` or `POSSIBLE`."""


class Scan(NamedTuple):
    """The imports of one source."""

    imports: tuple[ImportStatement, ...] = ()
    exports: tuple[str, ...] = ()
    """The names in a literal ``__all__``."""
    table: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """For a module with ``__getattr__``: each attribute in a lookup table, with the related strings in the table."""
    names: tuple[str, ...] = ()
    """For a module with computed imports: every string that could be a module's name; empty if more than 2,000."""
    mentions: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """The names that each scope uses; "" is the top-level code. A function or class counts as used if its name occurs."""
    aliases: tuple[str, ...] = ()
    """The names after ``as`` in top-level imports."""
    # Not `str | None`, because Python 3.9 evaluates the annotations of a NamedTuple.
    problem: Optional[str] = None  # noqa: UP045
    """Why the source could not be scanned, otherwise ``None``. If set, the imports are unknown."""


def decode(row: Sequence[Any]) -> Scan:
    """Return the scan in *row*, which was parsed from JSON."""
    imports, exports, table, names, mentions, aliases, problem = row
    # Most modules use the same names. Interned, the scans of a layer need a third of the memory.
    intern = sys.intern
    return Scan(
        tuple(
            ImportStatement(intern(module), level, tuple(map(intern, taken)), scope, quoted, intern(need))
            for module, level, taken, scope, quoted, need in imports
        ),
        tuple(exports),
        tuple((attribute, tuple(mentioned)) for attribute, mentioned in table),
        tuple(names),
        tuple((scope, tuple(map(intern, mentioned))) for scope, mentioned in mentions),
        tuple(aliases),
        problem,
    )


def scan(source: bytes, *, python: tuple[int, int]) -> Scan:
    """
    Return the imports of *source* when it runs on the minor version *python* of CPython on Linux.

    Branches for other versions and platforms, for type checkers, and for running as a script are skipped. If the source
    does not parse, the result has only a `problem`. Raises MemoryError if there is too little memory.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, MemoryError) and len(source) > SMALL_BYTES:
            raise
        return Scan(problem="{}: {}".format(type(error).__name__, getattr(error, "msg", error)))
    try:
        return _read(tree, source, python)
    except RecursionError as error:
        # Code that the interpreter compiles may be nested too deeply for this walk, such as a thousand `elif` branches.
        return Scan(problem=f"RecursionError: {error}")


def _read(tree: ast.Module, source: bytes, python: tuple[int, int]) -> Scan:
    dynamic = any(name in source for name in _DYNAMIC)
    walk = _SourceWalk(python, dynamic=dynamic)
    walk.statements(tree.body, "")
    imports = [*walk.imports, *walk.attributes()]
    if _CREATING.search(source):
        created = sorted(set(_strings(tree)))
        imports += [ImportStatement(text, quoted=True, need=CREATED) for text in created[:_MANY_NAMES]]
    table: tuple[tuple[str, tuple[str, ...]], ...] = ()
    names: tuple[str, ...] = ()
    if dynamic:
        computed = walk.computes or b"entry_points" in source or b"lazy_" in source
        found = sorted(set(_strings(tree))) if computed else []
        names = tuple(found) if len(found) <= _MANY_NAMES else ()
        if "__getattr__" in walk.mentions:
            table = tuple(sorted(set(_table(tree))))
    mentions = tuple((scope, tuple(sorted(mentioned))) for scope, mentioned in walk.mentions.items())
    return Scan(tuple(dict.fromkeys(imports)), walk.exports, table, names, mentions, tuple(sorted(walk.aliases)))


class _SourceWalk:
    """One pass over the syntax tree of a source. Tracks the current scope; "" is the top-level code, which runs on import."""

    def __init__(self, python: tuple[int, int], *, dynamic: bool) -> None:
        self._python = python
        self._dynamic = dynamic
        self.imports: list[ImportStatement] = []
        self.bound: dict[str, str] = {}
        """The full name of each imported object, by the name it is bound to."""
        self.mentions: dict[str, set[str]] = {"": set()}
        self.exports: tuple[str, ...] = ()
        self.computes = False
        self.aliases: set[str] = set()
        """The names after ``as`` in top-level imports."""
        self._need = REQUIRED
        self._chains: set[tuple[str, tuple[str, ...], str]] = set()
        """Tuples of a name, the attributes accessed on it in a chain, and the scope."""

    def attributes(self) -> Iterator[ImportStatement]:
        """Yield imports for ``package.submodule`` if only ``package`` is imported, because the package may load it on access."""
        for name, chain, scope in sorted(self._chains):
            if name in self.bound:
                module = self.bound[name]
                for attribute in chain[:_DEEP]:
                    yield ImportStatement(module, 0, (attribute,), scope, need=POSSIBLE)
                    module = f"{module}.{attribute}"

    def statements(self, statements: Iterable[ast.stmt], scope: str, *, owner: str = "") -> None:
        """Walk *statements* of *scope*. *owner* is the class that contains them, and becomes the scope of its methods."""
        for statement in statements:
            if isinstance(statement, ast.Import):
                self._import(statement, scope)
            elif isinstance(statement, ast.ImportFrom):
                self._import_from(statement, scope)
            elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self._function(statement, scope, owner)
            elif isinstance(statement, ast.ClassDef):
                self._expressions([*statement.bases, *statement.keywords, *statement.decorator_list], scope)
                self.mentions.setdefault(scope or owner or statement.name, set())
                self.statements(statement.body, scope, owner=owner or statement.name)
            elif isinstance(statement, ast.If):
                self._if(statement, scope, owner)
            elif isinstance(statement, ast.Try):
                self._try(statement, scope, owner)
            elif isinstance(statement, _BLOCKS):
                with self._needed(REQUIRED if _always_runs(statement) else OPTIONAL):
                    self._children(statement, scope, owner)
            elif not self._is_export(statement):
                self._children(statement, scope, owner)

    @contextmanager
    def _needed(self, need: str) -> Iterator[None]:
        """Mark the imports that are found meanwhile with *need*, unless they are inside a block with another mark."""
        outer = self._need
        if outer == FALLBACK and need:
            self._need = MAYBE_FALLBACK
        else:
            self._need = outer or need
        yield
        self._need = outer

    def _if(self, statement: ast.If, scope: str, owner: str) -> None:
        self._expressions([statement.test], scope)
        value = _decided(statement.test, self._python)
        with self._needed(OPTIONAL if value is None else REQUIRED):
            self.statements(() if value is False else statement.body, scope, owner=owner)
            self.statements(() if value is True else statement.orelse, scope, owner=owner)

    def _try(self, statement: ast.Try, scope: str, owner: str) -> None:
        catching = [handler for handler in statement.handlers if _catches_import_error(handler)]
        fails = bool(catching) and all(isinstance(handler.body[-1], ast.Raise) for handler in catching)
        replaced = not fails and any(_is_import(inner) for handler in catching for inner in handler.body)
        need = REPLACED if replaced else OPTIONAL if statement.handlers and not fails else REQUIRED
        with self._needed(need):
            self.statements(statement.body, scope, owner=owner)
        for handler in statement.handlers:
            with self._needed(FALLBACK if replaced and handler in catching else OPTIONAL):
                self._children(handler, scope, owner)
        # The `else` clause runs only if the body succeeds.
        with self._needed(OPTIONAL if statement.handlers else REQUIRED):
            self.statements(statement.orelse, scope, owner=owner)
        self.statements(statement.finalbody, scope, owner=owner)

    def _children(self, parent: ast.AST, scope: str, owner: str) -> None:
        expressions: list[ast.AST] = []
        for name in _nodes(type(parent)):
            value = getattr(parent, name, None)
            for child in value if isinstance(value, list) else (value,):
                if isinstance(child, ast.stmt):
                    self.statements((child,), scope, owner=owner)
                elif isinstance(child, ast.expr):
                    expressions.append(child)
                elif isinstance(child, ast.AST):
                    # Exception handlers, match cases with their patterns, and `with` items.
                    self._children(child, scope, owner)
                elif isinstance(child, str) and not isinstance(parent, (ast.ExceptHandler, ast.stmt)):
                    # A name that a pattern binds.
                    self.mentions[scope].add(child)
        self._expressions(expressions, scope)

    def _function(self, statement: ast.FunctionDef | ast.AsyncFunctionDef, scope: str, owner: str) -> None:
        defaults = [default for default in statement.args.kw_defaults if default is not None]
        self._expressions([*statement.decorator_list, *statement.args.defaults, *defaults], scope)
        inner = scope or owner or statement.name
        self.mentions.setdefault(inner, set())
        self.statements(statement.body, inner)

    def _import(self, statement: ast.Import, scope: str) -> None:
        for name in statement.names:
            self.imports.append(ImportStatement(name.name, scope=scope, need=self._need))
            if name.asname and not scope:
                self.aliases.add(name.asname)
            top = name.name.partition(".")[0]
            self.bound[name.asname or top] = name.name if name.asname else top

    def _import_from(self, statement: ast.ImportFrom, scope: str) -> None:
        module = statement.module or ""
        self.imports.append(
            ImportStatement(
                module, statement.level, tuple(name.name for name in statement.names), scope, need=self._need
            )
        )
        for name in statement.names:
            if name.asname and not scope:
                self.aliases.add(name.asname)
            if name.asname not in (None, name.name):
                # Renaming an import counts as a use of the original name.
                self.mentions[scope].add(name.name)
            if statement.level == 0:
                self.bound[name.asname or name.name] = f"{module}.{name.name}"

    def _is_export(self, statement: ast.stmt) -> bool:
        """Return whether *statement* sets ``__all__``. Names listed there do not count as used."""
        if not isinstance(statement, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            return False
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if not any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return False
        elements = getattr(statement.value, "elts", ())
        literals = [element.value for element in elements if isinstance(element, ast.Constant)]
        self.exports += tuple(literal for literal in literals if isinstance(literal, str))
        return True

    def _expressions(self, expressions: Iterable[ast.AST], scope: str) -> None:  # noqa: C901 - calls take longer
        # This loop takes most of the time of a scan. Comparing types is faster than `isinstance`, and no node class has subclasses.
        mentioned = self.mentions[scope]
        pending: list[Any] = list(expressions)
        while pending:
            node = pending.pop()
            kind = type(node)
            if kind is ast.Name:
                mentioned.add(node.id)
                continue
            if kind is ast.Constant:
                if type(node.value) is str:
                    self._constant(node.value, scope)
                continue
            if kind is ast.Attribute:
                pending.append(self._chain(node, scope))
                continue
            if kind is ast.Call and self._dynamic and self._full_name(node.func).rpartition(".")[2] in _IMPORTING_CALLS:
                self._call(node, scope)
            elif kind in _CONDITIONAL and self._dynamic and self._need == REQUIRED:
                with self._needed(OPTIONAL):
                    self._expressions((node,), scope)
                continue
            for name in _nodes(kind):
                value = getattr(node, name, None)
                if type(value) is list:
                    pending.extend(value)
                elif isinstance(value, ast.AST):
                    pending.append(value)

    def _constant(self, value: str, scope: str) -> None:
        if len(value) >= _LONG_NAME:
            return
        if value.isascii() and value.isidentifier():
            # By far the most frequent form, which the expression would match too.
            self.mentions[scope].add(value)
        elif _NAME.fullmatch(value):
            self.mentions[scope].add(re.split(r"[.:]", value)[-1])
            if "." in value.lstrip("."):
                self.imports.append(ImportStatement(value.replace(":", "."), 0, (), scope, quoted=True))

    def _chain(self, node: ast.expr, scope: str) -> ast.expr:
        """Record the attributes accessed in *node*, such as ``a.b.c``, and return the first expression, here ``a``."""
        chain: list[str] = []
        while isinstance(node, ast.Attribute):
            chain.append(node.attr)
            node = node.value
        self.mentions[scope].update(chain)
        if isinstance(node, ast.Name):
            self._chains.add((node.id, tuple(reversed(chain)), scope))
        return node

    def _call(self, call: ast.Call, scope: str) -> None:
        arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
        literals = [_literal(argument) for argument in arguments]
        texts = [text for text in literals if isinstance(text, str) and _NAME.fullmatch(text)]
        self.computes = self.computes or not texts
        # The other string argument may be the package of a relative name.
        packages = [text for text in texts if not text.startswith(".")]
        for text in texts:
            name = text.partition(":")[0]
            module = name.lstrip(".")
            level = len(name) - len(module)
            # Any string argument counts, but only the first one names what the call imports.
            needed = text is literals[0] and self._full_name(call.func) in _FAILING_CALLS
            is_in_package = any(isinstance(each, ast.Name) and each.id == "__package__" for each in arguments[1:])
            need = self._need if needed and (not level or is_in_package) else POSSIBLE
            self.imports.append(ImportStatement(module, level, (), scope, need=need))
            for package in packages if level else ():
                parents = package.split(".")
                name = ".".join([*parents[: len(parents) - level + 1], module])
                self.imports.append(ImportStatement(name, 0, (), scope, need=self._need if needed else POSSIBLE))

    def _full_name(self, function: ast.expr) -> str:
        """Return the dotted name of *function* before imports renamed it, as far as it consists of names."""
        if isinstance(function, ast.Name):
            return self.bound.get(function.id, function.id)
        if not isinstance(function, ast.Attribute):
            return ""
        # An object that no import bound is another one than the module of that name.
        owner = self.bound.get(function.value.id, "") if isinstance(function.value, ast.Name) else ""
        return f"{owner}.{function.attr}"


def _always_runs(statement: ast.stmt) -> bool:
    """Return whether *statement*, one with blocks, is a ``with`` whose errors are certainly not suppressed."""
    if not isinstance(statement, (ast.With, ast.AsyncWith)):
        return False
    managers = [item.context_expr for item in statement.items]
    return all(isinstance(manager, ast.Call) and _called(manager) in _PASSING for manager in managers)


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
    kinds = [caught] if not isinstance(caught, ast.Tuple) else caught.elts
    names = [kind.id if isinstance(kind, ast.Name) else getattr(kind, "attr", "") for kind in kinds if kind is not None]
    return caught is None or any(name in _IMPORT_ERRORS for name in names)


def _is_import(statement: ast.stmt) -> bool:
    """Return whether *statement* contains an import that runs with it."""
    return any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.walk(statement))


def _nodes(kind: type[Any]) -> tuple[str, ...]:
    """Return the names of the fields of the node class *kind* that can contain names or strings."""
    if kind not in _NODES:
        _NODES[kind] = tuple(name for name in kind._fields if name not in _LEAVES)
    return _NODES[kind]


def _called(call: ast.Call) -> str:
    function = call.func
    if isinstance(function, ast.Name):
        return function.id
    return function.attr if isinstance(function, ast.Attribute) else ""


def _decided(test: ast.expr, python: tuple[int, int]) -> bool | None:  # noqa: PLR0911 - one return for each form
    """Return the value of *test* on the target, or ``None`` if it is only known at run time."""
    if isinstance(test, ast.Constant):
        return bool(test.value)
    if isinstance(test, (ast.Name, ast.Attribute)):
        name = test.id if isinstance(test, ast.Name) else test.attr
        return False if name in _TYPE_CHECKING else None
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        value = _decided(test.operand, python)
        return None if value is None else not value
    if isinstance(test, ast.BoolOp):
        decided = [_decided(value, python) for value in test.values]
        deciding = isinstance(test.op, ast.Or)
        if deciding in decided:
            return deciding
        return None if None in decided else not deciding
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        left, operator, right = test.left, test.ops[0], test.comparators[0]
        if type(operator) in _MIRRORED and isinstance(left, (ast.Constant, ast.Tuple)):
            left, operator, right = right, _MIRRORED[type(operator)], left
        return _compared(ast.unparse(left), operator, right, python)
    if isinstance(test, ast.Call) and ast.unparse(test.func) == "sys.platform.startswith":
        prefix = _literal(test.args[0]) if test.args else None
        prefixes = prefix if isinstance(prefix, tuple) else (prefix,)
        return "linux".startswith(prefixes) if all(isinstance(each, str) for each in prefixes) else None
    return None


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        # The expression is not a literal, or is invalid at run time, such as a set of lists.
        return None


def _compared(  # noqa: PLR0911 - one return for each form
    left: str, operator: ast.cmpop, right: ast.expr, python: tuple[int, int]
) -> bool | None:
    literal = _literal(right)
    if isinstance(operator, (ast.In, ast.NotIn)) and left in _FACTS:
        if not isinstance(literal, (tuple, list, set)):
            return None
        return (_FACTS[left] in literal) is isinstance(operator, ast.In)
    if isinstance(operator, (ast.Eq, ast.NotEq)) and isinstance(literal, str):
        if left == "__name__" and literal == "__main__":
            return isinstance(operator, ast.NotEq)
        return (_FACTS[left] == literal) is isinstance(operator, ast.Eq) if left in _FACTS else None
    version = _VERSION.fullmatch(left)
    wanted = (literal,) if isinstance(literal, int) else literal
    if version is None or not isinstance(wanted, tuple) or not all(isinstance(part, int) for part in wanted):
        return None
    if wanted[:2] == python and len(wanted) > len(python):
        # Lambda updates the patch version.
        return None
    # sys.version_info has five items, so it is greater than any shorter tuple that is its prefix.
    own = python[: len(wanted)] if version[1] else (*python, 0.5)
    if isinstance(operator, (ast.GtE, ast.Gt)):
        return own >= wanted if isinstance(operator, ast.GtE) else own > wanted
    if isinstance(operator, (ast.Lt, ast.LtE)):
        return own < wanted if isinstance(operator, ast.Lt) else own <= wanted
    if isinstance(operator, (ast.Eq, ast.NotEq)) and version[1]:
        return (own == wanted) is isinstance(operator, ast.Eq)
    return None


def _strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _NAME.fullmatch(node.value):
            yield node.value


def _table(tree: ast.Module) -> Iterator[tuple[str, tuple[str, ...]]]:
    """
    Yield the strings that a ``__getattr__`` may look up, each with the strings to which it may lead.

    A dictionary key leads to the strings in its value, and each of these to the key. A compared string leads to itself.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values):  # noqa: B905 - 3.9 has no `strict`
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    mentioned = tuple(_strings(value))
                    yield key.value, mentioned
                    for attribute in mentioned:
                        yield attribute, (key.value,)
        elif isinstance(node, ast.Compare):
            for literal in map(_literal, node.comparators):
                for name in (literal,) if isinstance(literal, str) else literal if isinstance(literal, tuple) else ():
                    if isinstance(name, str):
                        yield name, (name,)


def scan_extension(pieces: Iterable[bytes | memoryview], modules: Iterable[str]) -> Scan:
    """
    Return, as top-level imports, those of *modules* whose dotted names the extension module in *pieces* contains.

    *modules* are all modules of its distribution. Extension modules import by name, and contain the names as string
    constants, which may be adjacent without a separator.
    """
    by_top: dict[str, list[str]] = {}
    for module in modules:
        if "." in module:
            by_top.setdefault(module.partition(".")[0], []).append(module)
    if not by_top:
        return Scan()
    # A name can extend over two pieces.
    overlap = max(len(name) for names in by_top.values() for name in names)
    named: set[str] = set()
    content = b""
    for piece in pieces:
        content = content[-overlap:] + piece
        for top, candidates in by_top.items():
            texts = set(_dotted_texts(content, top.encode() + b"."))
            named.update(name for name in candidates if any(text.startswith(name) for text in texts))
    return Scan(tuple(ImportStatement(name) for name in sorted(named)))


def _dotted_texts(content: bytes, start: bytes) -> Iterator[str]:
    """Yield each *start* in *content* with the letters, digits, underscores and dots that follow it."""
    # `find` is many times as fast as one expression that matches overlapping names.
    position = content.find(start)
    while position >= 0:
        found = _DOTTED.match(content, position + len(start))
        if found is not None:
            yield (start + found[0]).decode()
        position = content.find(start, position + 1)


def encoded(source: bytes, *, python: tuple[int, int]) -> bytes:
    """Return the `scan` of *source* as JSON, for `decode`."""
    return json.dumps(scan(source, python=python), separators=(",", ":")).encode()
