"""
Evaluate CloudFormation's intrinsic functions, as far as the template alone decides their result.

Every other result is `Unknown`, with the reason. Each function of a template is evaluated at most once, and only if a
setting needs it. The total work is limited, because a small document with aliases can describe an enormous value.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from lamina.core.errors import TemplateError
from lamina.core.frozen import frozen
from lamina.core.toml import read_data
from lamina.project.external import OWN_ACCOUNT, is_layer_version
from lamina.project.templates.settings import Undecided, Unknown, UnknownPart, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NO_VALUE = object()
"""The value of ``AWS::NoValue``: the setting counts as not set."""
_DEEPEST = 40
_LARGEST = 10**15
_LONGEST = 1_000_000
_MOST_WORK = 50_000_000
_MOST_PIECES = 10_000
_PLACEHOLDER = re.compile(r"\$\{(!?)([^{}]*)\}")
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html (read 2026-11).
_DYNAMIC = re.compile(r"\{\{resolve:[^{}]*\}\}")


@frozen
class ResourceReference:
    """A reference to a resource, whose value exists only after the deployment."""

    stack: tuple[str, ...]
    """The logical IDs of the nested stacks that lead to the resource's template."""
    name: str
    """The logical ID of the resource."""


class Evaluation:
    """The stacks that are read together, their exports, and the work that their evaluation has caused so far."""

    def __init__(self, file: str) -> None:
        """Start without stacks. Errors name *file*."""
        self.file = file
        self.stacks: dict[tuple[str, ...], Evaluator] = {}
        self.exports: dict[str, tuple[Evaluator, Any]] = {}
        self.depth = 0
        self._work = 0

    def spend(self, amount: int) -> None:
        """Count *amount* characters or list items. Raises `TemplateError` if the total exceeds the limit."""
        self._work += amount
        if self._work > _MOST_WORK:
            raise TemplateError("the values of the template are too large to evaluate", file=self.file)


def expand_tag(tag: str, value: Any) -> Any:
    """Return the long form of a value with a YAML tag such as ``!Sub``. Raises ValueError for an unknown tag."""
    name = tag.removeprefix("!")
    facts = _facts()
    if name in facts["plain"]:
        return {name: value}
    if name not in facts["functions"]:
        raise ValueError(f"unknown tag `{shown(tag)}`")
    return {f"Fn::{name}": value.split(".", 1) if name == "GetAtt" and isinstance(value, str) else value}


@cache
def _facts() -> dict[str, Any]:
    facts: dict[str, Any] = read_data("cloudformation.toml")["short_form"]
    return facts


def section(root: Any, key: str) -> Mapping[str, Any]:
    """Return the mapping at *key* of *root*; an empty mapping if either is not a mapping."""
    found = root.get(key) if isinstance(root, dict) else None
    return found if isinstance(found, dict) else {}


def function_name(node: Any) -> str | None:
    """Return the name of the intrinsic function that *node* calls, or ``None``."""
    if not isinstance(node, dict) or len(node) != 1:
        return None
    name = next(iter(node))
    return name if name in {"Ref", "Condition"} or name.startswith("Fn::") else None


class Evaluator:
    """The values of one template, with its parameters."""

    def __init__(
        self, root: Any, evaluation: Evaluation, *, stack: tuple[str, ...], given: Mapping[str, Callable[[], Any]]
    ) -> None:
        """Evaluate the template *root* of the nested *stack*. *given* returns the values of parameters."""
        self.resources = section(root, "Resources")
        self._root = root
        self._evaluation = evaluation
        self._stack = stack
        self._given = given
        self._known: dict[int, tuple[Any, Any]] = {}
        evaluation.stacks[stack] = self
        for output in section(root, "Outputs").values():
            name = section(output, "Export").get("Name")
            if isinstance(name, str):
                evaluation.exports.setdefault(name, (self, output.get("Value")))

    def resolve(self, node: Any) -> Any:
        """Return *node* with its outermost function evaluated; the members of lists and mappings stay as they are."""
        name = function_name(node)
        if name is None:
            return _decided(node)
        key = id(node)
        if key not in self._known:
            # The node is stored too, so that its id is not used again.
            self._known[key] = (node, Unknown(reason="the value refers to itself"))
            self._known[key] = (node, _decided(self._evaluate(name, node[name])))
        return self._known[key][1]

    def text(self, node: Any) -> str | Unknown:
        """Return the string that *node* evaluates to."""
        value = self.resolve(node)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str | Unknown):
            return value
        if isinstance(value, int | float) and abs(value) < _LARGEST:
            return str(value)
        if isinstance(value, ResourceReference):
            return Unknown(reason=f"resource `{shown(value.name)}` is known only after the deployment")
        return Unknown(reason="the value is not a string")

    def items(self, node: Any) -> list[Any] | Unknown:
        """Return the items of the list that *node* evaluates to."""
        value = self.resolve(node)
        if isinstance(value, Unknown):
            return value
        if not isinstance(value, list):
            return Unknown(reason="the value is not a list")
        self._evaluation.spend(len(value))
        return value

    def output(self, name: str) -> Any:
        """Return the value of the output *name*."""
        return self.resolve(section(section(self._root, "Outputs"), name).get("Value"))

    def _evaluate(self, name: str, argument: Any) -> Any:
        function = self._functions.get(name)
        if function is None:
            return Unknown(reason=f"`{shown(name)}` is evaluated during the deployment")
        evaluation = self._evaluation
        if evaluation.depth >= _DEEPEST:
            return Unknown(reason="the value is nested too deeply")
        evaluation.depth += 1
        try:
            return function(self, argument)
        finally:
            evaluation.depth -= 1

    def _ref(self, name: Any) -> Any:
        if not isinstance(name, str):
            return Unknown(reason="`Ref` does not name a parameter or a resource")
        if name == "AWS::NoValue":
            return NO_VALUE
        if name.startswith("AWS::"):
            reason = f"`{shown(name)}` is known only during the deployment"
            return UnknownPart(reason=reason, pattern=OWN_ACCOUNT if name == "AWS::AccountId" else "*")
        parameters = section(self._root, "Parameters")
        if name in parameters:
            return self._parameter(name, parameters[name])
        if name in self.resources:
            return ResourceReference(stack=self._stack, name=name)
        return Unknown(reason=f"`{shown(name)}` is neither a parameter nor a resource of the template")

    def _parameter(self, name: str, declared: Any) -> Any:
        kind = declared.get("Type") if isinstance(declared, dict) else None
        if isinstance(declared, dict) and str(declared.get("NoEcho")).lower() == "true":
            return Unknown(reason=f"parameter `{shown(name)}` is secret (`NoEcho`)")
        if name in self._given:
            value = self._given[name]()
        elif isinstance(declared, dict) and declared.get("Default") is not None:
            value = declared["Default"]
        else:
            return Unknown(reason=f"parameter `{shown(name)}` has no default")
        if isinstance(kind, str) and kind.startswith("AWS::SSM::Parameter::Value"):
            return Unknown(reason=f"parameter `{shown(name)}` is read from SSM during the deployment")
        if isinstance(kind, str) and kind.startswith(("CommaDelimitedList", "List<")) and isinstance(value, str):
            return [piece.strip() for piece in value.split(",", _MOST_PIECES)]
        if isinstance(value, dict | list) and name not in self._given:
            return Unknown(reason=f"the default of parameter `{shown(name)}` is not a string")
        return value

    def condition(self, name: Any) -> bool | Unknown:
        """Return the value of the condition *name*."""
        value = self.resolve(section(self._root, "Conditions").get(name)) if isinstance(name, str) else None
        if isinstance(value, bool):
            return value
        why = f": {value.reason}" if isinstance(value, Unknown) else ""
        return Unknown(reason=f"condition `{shown(str(name))}` is undecided{why}")

    def _named_condition(self, name: Any) -> Any:
        return self.condition(name)

    def _if(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) != 3:
            return _invalid("Fn::If")
        condition = self.condition(argument[0])
        if isinstance(condition, Unknown):
            return Undecided(reason=condition.reason, candidates=tuple(map(self.resolve, argument[1:])))
        return self.resolve(argument[2 - condition])

    def _equals(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) != 2:
            return _invalid("Fn::Equals")
        left, right = self.text(argument[0]), self.text(argument[1])
        return next((each for each in (left, right) if isinstance(each, Unknown)), left == right)

    def _any(self, argument: Any, *, decisive: bool, name: str) -> Any:
        if not isinstance(argument, list):
            return _invalid(name)
        self._evaluation.spend(len(argument))
        values = [self.resolve(each) for each in argument]
        if any(value is decisive for value in values):
            return decisive
        if all(value is (not decisive) for value in values):
            return not decisive
        return next((value for value in values if isinstance(value, Unknown)), _invalid(name))

    def _and(self, argument: Any) -> Any:
        return self._any(argument, decisive=False, name="Fn::And")

    def _or(self, argument: Any) -> Any:
        return self._any(argument, decisive=True, name="Fn::Or")

    def _not(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) != 1:
            return _invalid("Fn::Not")
        value = self.resolve(argument[0])
        return not value if isinstance(value, bool) else value if isinstance(value, Unknown) else _invalid("Fn::Not")

    def _join(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) != 2 or not isinstance(argument[0], str):
            return _invalid("Fn::Join")
        items = self.items(argument[1])
        return items if isinstance(items, Unknown) else self._concatenate(items, argument[0])

    def _concatenate(self, nodes: list[Any], delimiter: str) -> str | Unknown:
        pieces, length = [], 0
        unknown: Unknown | None = None
        for node in nodes:
            piece = self.text(node)
            if isinstance(piece, Unknown):
                unknown = unknown or piece
                piece = piece.pattern if isinstance(piece, UnknownPart) else "*"
            length += len(piece) + len(delimiter)
            if length > _LONGEST:
                return Unknown(reason="the value is longer than 1 MB")
            pieces.append(piece)
        self._evaluation.spend(length)
        text = delimiter.join(pieces)
        return text if unknown is None else UnknownPart(reason=unknown.reason, pattern=text)

    def _select(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) != 2:
            return _invalid("Fn::Select")
        index, items = self.text(argument[0]), self.items(argument[1])
        if isinstance(index, Unknown) or isinstance(items, Unknown):
            return index if isinstance(index, Unknown) else items
        if not re.fullmatch("[0-9]{1,6}", index) or int(index) >= len(items):
            return _invalid("Fn::Select")
        return self.resolve(items[int(index)])

    def _split(self, argument: Any) -> Any:
        if not isinstance(argument, list) or len(argument) != 2 or not argument[0] or not isinstance(argument[0], str):
            return _invalid("Fn::Split")
        text = self.text(argument[1])
        if isinstance(text, Unknown):
            return text
        self._evaluation.spend(len(text))
        return text.split(argument[0], _MOST_PIECES)

    def _find_in_map(self, argument: Any) -> Any:
        if not isinstance(argument, list) or not 3 <= len(argument) <= 4:
            return _invalid("Fn::FindInMap")
        keys = [self.text(each) for each in argument[:3]]
        undecided = next((each for each in keys if isinstance(each, Unknown)), None)
        if undecided is not None:
            candidates = self._candidates(section(self._root, "Mappings"), keys)
            return UnknownPart(reason=undecided.reason, pattern=_common_arn(candidates))
        value: Any = section(self._root, "Mappings")
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is None and len(argument) == 4 and isinstance(argument[3], dict):
            value = argument[3].get("DefaultValue")
        if value is None:
            return Unknown(reason=f"mapping `{shown('.'.join(map(str, keys)))}` does not exist")
        return self.resolve(value)

    def _candidates(self, node: Any, keys: list[str | Unknown]) -> list[Any]:
        """Return the values in the mapping *node* at *keys*, of which an unknown one stands for each that exists."""
        found = [node]
        for key in keys:
            below = [each for each in found if isinstance(each, dict)]
            if isinstance(key, Unknown):
                found = [value for each in below for value in each.values()]
            else:
                found = [each[key] for each in below if key in each]
            self._evaluation.spend(len(found))
        return found

    def _sub(self, argument: Any) -> Any:
        template, variables = argument if isinstance(argument, list) and len(argument) == 2 else (argument, {})
        if not isinstance(template, str) or not isinstance(variables, dict):
            return _invalid("Fn::Sub")
        pieces: list[Any] = []
        end = 0
        for match in _PLACEHOLDER.finditer(template):
            pieces.append(template[end : match.start()])
            end = match.end()
            name = match[2].strip()
            if match[1]:
                pieces.append(f"${{{name}}}")
            elif name in variables:
                pieces.append(variables[name])
            else:
                pieces.append(self._variable(name))
        self._evaluation.spend(len(template) + len(pieces))
        return self._concatenate([*pieces, template[end:]], "")

    def _variable(self, name: str) -> Any:
        resource, dot, attribute = name.partition(".")
        return self._get_attribute([resource, attribute]) if dot else self._ref(name)

    def _get_attribute(self, argument: Any) -> Any:
        parts = argument.split(".", 1) if isinstance(argument, str) else argument
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
            return _invalid("Fn::GetAtt")
        name, attribute = parts
        nested = self._evaluation.stacks.get((*self._stack, name))
        if nested is not None and attribute.startswith("Outputs."):
            value = nested.output(attribute.removeprefix("Outputs."))
            return value if value is not None else Unknown(reason=f"stack `{shown(name)}` has no `{shown(attribute)}`")
        if name not in self.resources:
            return Unknown(reason=f"`{shown(name)}` is not a resource of the template")
        return ResourceReference(stack=self._stack, name=name)

    def _import_value(self, argument: Any) -> Any:
        name = self.text(argument)
        if isinstance(name, Unknown):
            return name
        if name not in self._evaluation.exports:
            return Unknown(reason=f"`{shown(name)}` is imported from another stack")
        evaluator, node = self._evaluation.exports[name]
        return evaluator.resolve(node)

    _functions: ClassVar[dict[str, Callable[..., Any]]] = {
        "Condition": _named_condition,
        "Fn::And": _and,
        "Fn::Equals": _equals,
        "Fn::FindInMap": _find_in_map,
        "Fn::GetAtt": _get_attribute,
        "Fn::If": _if,
        "Fn::ImportValue": _import_value,
        "Fn::Join": _join,
        "Fn::Not": _not,
        "Fn::Or": _or,
        "Fn::Select": _select,
        "Fn::Split": _split,
        "Fn::Sub": _sub,
        "Ref": _ref,
    }


def _decided(value: Any) -> Any:
    """Return *value*, or why it is unknown if the deployment replaces a dynamic reference in it."""
    if isinstance(value, UnknownPart):
        return UnknownPart(reason=value.reason, pattern=_DYNAMIC.sub("*", value.pattern))
    found = _DYNAMIC.search(value) if isinstance(value, str) else None
    if found is None:
        return value
    reason = f"`{shown(found[0])}` is known only during the deployment"
    return UnknownPart(reason=reason, pattern=_DYNAMIC.sub("*", value))


def _common_arn(values: list[Any]) -> str:
    """Return the layer version that all *values* are the ARNs of, with ``*`` for each part in which they differ, or ``*``."""
    if not values or not all(isinstance(value, str) and is_layer_version(value) for value in values):
        return "*"
    parts = zip(*(value.split(":") for value in values), strict=False)
    return ":".join(each[0] if len(set(each)) == 1 else "*" for each in parts)


def _invalid(name: str) -> Unknown:
    return Unknown(reason=f"the arguments of `{name}` are invalid")
