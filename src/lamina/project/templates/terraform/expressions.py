"""
Evaluate expressions of Terraform's language as far as the files decide them, with bounds on work, depth and sizes.

Values are those of JSON, and `Unknown` for the rest. A set is a sorted list.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

from lamina.core.errors import TemplateError
from lamina.core.frozen import frozen
from lamina.project.external import OWN_ACCOUNT
from lamina.project.templates.settings import Undecided, Unknown, UnknownPart, shown
from lamina.project.templates.terraform.functions import MOST, MOST_CHARACTERS, call
from lamina.project.templates.terraform.hcl import parse_template, trees, unescape, word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lark import Tree

    from lamina.core.store import Store

_DEEPEST = 120
# The functions whose result has only arguments, or elements of them.
_PASSED_ON = frozenset(
    (
        "coalesce",
        "coalescelist",
        "compact",
        "concat",
        "distinct",
        "flatten",
        "reverse",
        "setunion",
        "sort",
        "tolist",
        "toset",
    )
)
# Evaluating a node takes about 5 µs, joining a million characters less than 1 ms (measured 2026-11).
_MOST_NODES = 400_000
_MOST_TEXT = 50 * MOST_CHARACTERS


@frozen
class UnknownReference(Unknown):
    """A reference whose value only Terraform knows."""

    path: tuple[str, ...]
    """The reference, such as ``("data", "archive_file", "x", "output_path")``; an instance's key is in brackets."""
    owner: Any
    """The module in which *path* is valid."""


@frozen
class MissingValue(Unknown):
    """A value whose absence Terraform would report as an error, which `try` handles."""


class Names:
    """A named set of values that are looked up on access: ``var``, ``local`` or ``path``."""

    def __init__(self, find: Callable[[str], Any]) -> None:
        self.find = find


class Budget:
    """The work that evaluating one description may still need."""

    def __init__(self, directory: str, store: Store) -> None:
        self.store = store
        self._directory, self._nodes, self._text = directory, _MOST_NODES, _MOST_TEXT
        self.depth = 0

    def spend(self, *, nodes: int = 1, text: int = 0) -> None:
        """Count work. Raises `TemplateError` if it exceeds the limit."""
        self._nodes -= nodes
        self._text -= text
        if self._nodes < 0 or self._text < 0:
            raise TemplateError(
                f"`{self._directory}`: the Terraform configuration needs too many steps to evaluate",
                hint="list the functions in `[tool.lamina.functions]` instead",
            )


class HclEvaluator:
    """The evaluation of expressions with one set of names."""

    def __init__(
        self,
        names: Mapping[str, Any],
        *,
        file: str,
        budget: Budget,
        functions: Mapping[str, Callable[..., Any]],
        owner: Any = None,
    ) -> None:
        self._names, self._file, self._budget, self._functions, self._owner = names, file, budget, functions, owner

    def value(self, node: Any) -> Any:
        """Return the value of *node*: a tree of the grammar, or a value of a JSON file."""
        self._budget.spend()
        if self._budget.depth >= _DEEPEST:
            return Unknown(reason="the expression is nested too deeply")
        self._budget.depth += 1
        try:
            return self._json(node) if not hasattr(node, "data") else self._tree(node)
        finally:
            self._budget.depth -= 1

    def _json(self, node: Any) -> Any:
        if isinstance(node, dict):
            return {key: self.value(each) for key, each in node.items()}
        if isinstance(node, list):
            return [self.value(each) for each in node]
        if isinstance(node, str) and ("${" in node or "%{" in node):
            self._budget.spend(nodes=20 + len(node))
            return self.value(parse_template(node, self._file, self._budget.store))
        return node

    def _tree(self, tree: Tree[Any]) -> Any:
        handler = getattr(self, f"_{tree.data}", None)
        if handler is None:
            return Unknown(reason=f"the expression `{tree.data}` is not evaluated")
        return handler(tree, trees(tree))

    def _expr_term(self, _: Tree[Any], parts: list[Tree[Any]]) -> Any:
        return self.value(parts[0])

    def _identifier(self, tree: Tree[Any], _: list[Tree[Any]]) -> Any:
        name = str(tree.children[0])
        return self._names[name] if name in self._names else self._reference((name,))

    def _reference(self, path: tuple[str, ...], owner: Any = None) -> UnknownReference:
        kind = "the data source" if path[0] == "data" else "the reference"
        reason = f"only the deployment knows {kind} `{shown('.'.join(path).replace('.[', '['))}`"
        return UnknownReference(reason=reason, path=path, owner=owner or self._owner)

    def _literal_value(self, tree: Tree[Any], _: list[Tree[Any]]) -> Any:
        return {"true": True, "false": False}.get(str(tree.children[0]))

    def _int_lit(self, tree: Tree[Any], _: list[Tree[Any]]) -> Any:
        digits = "".join(map(str, tree.children))
        return int(digits) if len(digits) <= 18 else Unknown(reason="the number is too large")

    def _float_lit(self, tree: Tree[Any], _: list[Tree[Any]]) -> Any:
        return _number(float("".join(map(str, tree.children))[:100]))

    def _string(self, _: Tree[Any], parts: list[Tree[Any]]) -> Any:
        pieces = [part.children[0] for part in parts]
        if len(pieces) == 1 and not isinstance(pieces[0], str):
            return self._piece(pieces[0])
        result: list[str] = []
        unknown: Unknown | None = None
        for piece in pieces:
            value = unescape(piece) if isinstance(piece, str) else _text(self._piece(piece))
            if isinstance(value, Unknown):
                unknown = unknown or value
                value = _pattern(value)
            self._budget.spend(text=len(value))
            result.append(value)
        text = _limited("".join(result))
        return (
            text if unknown is None or isinstance(text, Unknown) else UnknownPart(reason=unknown.reason, pattern=text)
        )

    def _piece(self, piece: Any) -> Any:
        if piece.data == "interpolation":
            return self.value(trees(piece)[0])
        return Unknown(reason="template directives such as `%{ if }` are not evaluated")

    def _tuple(self, _: Tree[Any], parts: list[Tree[Any]]) -> Any:
        return [self.value(each) for each in parts]

    def _object(self, _: Tree[Any], parts: list[Tree[Any]]) -> Any:
        result: dict[str, Any] = {}
        for element in parts:
            key, value = trees(element)
            name = self._key(trees(key)[0])
            if isinstance(name, Unknown):
                return name
            result[name] = self.value(value)
        return result

    def _key(self, tree: Tree[Any]) -> Any:
        inner = trees(tree)[0] if tree.data == "expr_term" and len(tree.children) == 1 else tree
        return word(inner) if inner.data in {"identifier", "keyword", "literal_value"} else _text(self.value(inner))

    def _get_attr_expr_term(self, _: Tree[Any], parts: list[Tree[Any]]) -> Any:
        return self._access(self.value(parts[0]), parts[1])

    _index_expr_term = _get_attr_expr_term

    def _attr_splat_expr_term(self, _: Tree[Any], parts: list[Tree[Any]]) -> Any:
        value = self.value(parts[0])
        if isinstance(value, Unknown):
            # The splat of a reference has the same path as the attribute of one instance.
            for access in trees(parts[1]):
                value = self._access(value, access)
            return [value] if isinstance(value, UnknownReference) else value
        result = []
        for each in value if isinstance(value, list) else [] if value is None else [value]:
            item = each
            for access in trees(parts[1]):
                item = self._access(item, access)
            result.append(item)
        return result

    _full_splat_expr_term = _attr_splat_expr_term

    def _access(self, value: Any, access: Tree[Any]) -> Any:
        self._budget.spend()
        if access.data == "get_attr":
            return self._member(value, word(trees(access)[0]), attribute=True)
        if access.data == "short_index":
            return self._member(value, int(str(access.children[1])[:9]), attribute=False)
        return self._member(value, self.value(trees(access)[0]), attribute=False)

    def _member(self, value: Any, key: Any, *, attribute: bool) -> Any:
        if isinstance(key, Unknown):
            return key
        if isinstance(value, Names):
            return value.find(str(key))
        if isinstance(value, Unknown):
            if not isinstance(value, UnknownReference) or len(value.path) > 20:
                return value
            path = (*value.path, str(key) if attribute else f"[{key}]")
            found = None if value.owner is None else value.owner.resolve(path)
            return self._reference(path, value.owner) if found is None else found
        return _element(value, key)

    def _conditional(self, _: Tree[Any], parts: list[Tree[Any]]) -> Any:
        condition = _boolean(self.value(parts[0]))
        if isinstance(condition, Unknown):
            return Undecided(reason=condition.reason, candidates=tuple(map(self.value, parts[1:3])))
        return self.value(parts[1 if condition else 2])

    def _unary_op(self, tree: Tree[Any], parts: list[Tree[Any]]) -> Any:
        value = self.value(parts[0])
        if isinstance(value, Unknown):
            return value
        if str(tree.children[0]) == "!":
            negated = _boolean(value)
            return negated if isinstance(negated, Unknown) else not negated
        return -value if _is_number(value) else Unknown(reason="the value is not a number")

    def _binary_op(self, _: Tree[Any], parts: list[Tree[Any]]) -> Any:
        sign_tree, right = trees(parts[1])
        sign = str(sign_tree.children[0]).split()[-1]
        left = self.value(parts[0])
        if sign in {"&&", "||"}:
            left = _boolean(left)
            if left is (sign == "||"):
                return left
            other = _boolean(self.value(right))
            return other if other is (sign == "||") or not isinstance(left, Unknown) else left
        other = self.value(right)
        unknown = next((each for each in (left, other) if isinstance(each, Unknown)), None)
        return unknown or (_equality(sign, left, other) if sign in {"==", "!="} else _arithmetic(sign, left, other))

    def _function_call(self, _: Tree[Any], parts: list[Tree[Any]]) -> Any:
        name = "::".join(word(each) for each in parts if each.data == "identifier")
        arguments = trees(parts[-1]) if parts[-1].data == "arguments" else []
        if name in {"try", "can"}:
            return self._try(name, arguments)
        values = [self.value(each) for each in arguments]
        if any(str(each) == "..." for each in parts[-1].children):
            last = values.pop()
            if not isinstance(last, list):
                return (
                    last if isinstance(last, Unknown) else Unknown(reason=f"the arguments of `{name}` are not a list")
                )
            values += last
        unknown = next((each for each in values if isinstance(each, Unknown | Names)), None)
        if isinstance(unknown, Unknown) and name in _PASSED_ON:
            return Undecided(reason=unknown.reason, candidates=tuple(values))
        if unknown is not None:
            return (
                unknown if isinstance(unknown, Unknown) else Unknown(reason=f"`{name}` has an argument without a value")
            )
        function = self._functions.get(name)
        found = call(name, values) if function is None else function(*values)
        return _checked(name, found, self._budget)

    def _try(self, name: str, arguments: list[Tree[Any]]) -> Any:
        value: Any = MissingValue(reason="no argument of `try` has a value")
        for number, argument in enumerate(arguments, start=1):
            value = self.value(argument)
            if not isinstance(value, MissingValue):
                if name == "try" and isinstance(value, Unknown) and number < len(arguments):
                    candidates = (value, *map(self.value, arguments[number:]))
                    return Undecided(reason=value.reason, candidates=candidates)
                break
        if name == "can":
            known = not isinstance(value, MissingValue)
            return value if known and isinstance(value, Unknown) else known
        return value

    def _for_tuple_expr(self, _: Tree[Any], parts: list[Tree[Any]]) -> Any:
        result: list[Any] = []
        for inner in self._iterate(parts):
            if isinstance(inner, Unknown):
                return inner
            result.append(inner.value(parts[1]))
        return result

    def _for_object_expr(self, tree: Tree[Any], parts: list[Tree[Any]]) -> Any:
        grouped = any(str(each) == "..." for each in tree.children)
        result: dict[str, Any] = {}
        for inner in self._iterate(parts):
            key = inner if isinstance(inner, Unknown) else _text(inner.value(parts[1]))
            if isinstance(key, Unknown) or isinstance(inner, Unknown):
                return key
            value = inner.value(parts[2])
            if grouped:
                result.setdefault(key, []).append(value)
            else:
                result[key] = value
        return result

    def _iterate(self, parts: list[Tree[Any]]) -> Iterator[HclEvaluator | Unknown]:
        """Yield an evaluator for each element that the condition of a ``for`` expression accepts."""
        *variables, collection = trees(parts[0])
        names, condition = [word(each) for each in variables], parts[-1] if parts[-1].data == "for_cond" else None
        value = self.value(collection)
        if not isinstance(value, list | dict):
            yield value if isinstance(value, Unknown) else Unknown(reason="`for` needs a list or a map")
            return
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            bound = {names[-1]: each} | ({names[0]: key} if len(names) == 2 else {})
            inner = self.bind(bound)
            accepted = True if condition is None else _boolean(inner.value(trees(condition)[0]))
            if isinstance(accepted, Unknown):
                yield accepted
                return
            if accepted:
                yield inner

    def bind(self, names: Mapping[str, Any]) -> HclEvaluator:
        """Return an evaluator that knows *names*, too."""
        return HclEvaluator(
            {**self._names, **names},
            file=self._file,
            budget=self._budget,
            functions=self._functions,
            owner=self._owner,
        )


def _element(value: Any, key: Any) -> Any:
    try:
        if isinstance(value, dict):
            return value[str(key)]
        if isinstance(value, list) and int(key) >= 0:
            return value[int(key)]
    except (LookupError, ValueError, TypeError):
        pass
    return MissingValue(reason=f"the value has no element `{shown(str(key))}`")


def _checked(name: str, value: Any, budget: Budget) -> Any:
    if isinstance(value, str):
        budget.spend(text=len(value))
        return _limited(value)
    if isinstance(value, list | dict):
        budget.spend(nodes=len(value) // 10)
    if isinstance(value, list | dict) and len(value) > MOST:
        return Unknown(reason=f"the function `{name}` returns more than {MOST:,} elements")
    if value is NotImplemented:
        return Unknown(reason=f"the function `{name}` is not evaluated")
    if isinstance(value, ValueError):
        kind = MissingValue if isinstance(value, KeyError) else Unknown
        return kind(reason=f"the function `{name}` cannot be evaluated: {value}")
    return value


def _limited(text: str) -> Any:
    return text if len(text) <= MOST_CHARACTERS else Unknown(reason="the string is longer than 1 MB")


def _number(value: float) -> Any:
    if not math.isfinite(value) or abs(value) > 1e15:
        return Unknown(reason="the number is too large")
    return int(value) if value == int(value) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _boolean(value: Any) -> Any:
    if isinstance(value, bool | Unknown):
        return value
    return (
        {"true": True, "false": False}.get(value)
        if value in ("true", "false")
        else Unknown(reason="the condition is not a boolean")
    )


def _text(value: Any) -> Any:
    """Return *value* as Terraform converts it to a string."""
    if isinstance(value, str | Unknown):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if _is_number(value) else Unknown(reason="the value is not a string")


def _pattern(value: Unknown) -> str:
    """Return what takes the place of *value* in a text."""
    if isinstance(value, UnknownPart):
        return value.pattern
    path = value.path if isinstance(value, UnknownReference) else ()
    is_account = path[:2] == ("data", "aws_caller_identity") and path[-1] in {"account_id", "id"}
    return OWN_ACCOUNT if is_account else "*"


def _equality(sign: str, left: Any, right: Any) -> Any:
    sides = (left, right)
    if any(isinstance(each, Names) for each in sides):
        return Unknown(reason="the compared values are not known")
    if all(isinstance(each, list | dict) for each in sides) and left and right:
        return Unknown(reason="comparing collections is not evaluated")
    same = left == right and isinstance(left, bool) == isinstance(right, bool)
    return same is (sign == "==")


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": math.fmod,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def _arithmetic(sign: str, left: Any, right: Any) -> Any:
    if not (_is_number(left) and _is_number(right)) or (sign in {"/", "%"} and right == 0):
        return Unknown(reason=f"`{sign}` cannot be evaluated with these values")
    result = _ARITHMETIC[sign](left, right)
    return result if isinstance(result, bool) else _number(result)
