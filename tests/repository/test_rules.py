"""The rules in `rules.toml` are those that the code reports, and each has a place in the documentation."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lamina.audit.check import FAMILIES
from lamina.core.values import Severity
from lamina.pipeline.checks.rules import families, rules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.pipeline.checks.rules import Rule

SOURCES = Path(__file__).parents[2] / "src" / "lamina"
CHECKS = sorted((SOURCES / "pipeline" / "checks").glob("*.py"))
AUDIT = sorted((SOURCES / "audit").rglob("*.py"))
MAKERS = {"error", "warning", "note"}


@cache
def reported(path: Path) -> frozenset[tuple[str, str]]:
    """Return the rule and the severity of each call of `error`, `warning` and `note` in the module *path*."""
    tree = ast.parse(path.read_text("utf-8"))
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=maker), args=[rule, *_]) if maker in MAKERS:
                found |= {(name, maker) for name in strings(rule, constants)}
    return frozenset(found)


def strings(node: ast.expr, constants: dict[str, ast.expr]) -> Iterator[str]:
    """Yield the strings that *node* can be, as far as the source says."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.Name(id=name) if name in constants:
            yield from strings(constants[name], constants)
        case ast.IfExp(body=body, orelse=orelse):
            yield from strings(body, constants)
            yield from strings(orelse, constants)
        case _:
            # Computed while the check runs.
            pass


def literals(paths: list[Path]) -> set[str]:
    """Return every string in the modules *paths*."""
    nodes = (node for path in paths for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_finding_has_a_rule() -> None:
    """Every rule that the code reports is in `rules.toml`, which has no others and names each once."""
    names = [rule.name for rule in rules()]
    found = {name for path in (*CHECKS, *AUDIT) for name, _ in reported(path)}

    assert {"unzipped-limit", "pth-ignored", "ignore-expired"} <= found
    assert set() == found - set(names)
    assert set() == set(names) - literals([*CHECKS, *AUDIT])
    assert len(names) == len(set(names))


def fits(severity: str, rule: Rule) -> bool:
    """Return whether *severity* is the usual one of *rule*, or a lower one that the rule's cause mentions."""
    order = [each.value for each in Severity]
    is_lower = order.index(severity) > order.index(rule.severity.value)
    return severity == rule.severity.value or (
        is_lower and re.search(rf"\b{severity}\b", rule.cause, re.IGNORECASE) is not None
    )


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
def test_severities(rule: Rule) -> None:
    """The severity in `rules.toml` is the highest that the code reports, and the cause says when a lower one applies."""
    used = {severity for path in (*CHECKS, *AUDIT) for name, severity in reported(path) if name == rule.name}

    assert set() == {severity for severity in used if not fits(severity, rule)}


def test_builds() -> None:
    """The rules of `lamina build` are those in `pipeline.checks`."""
    own = literals(CHECKS)

    assert {rule.name for rule in rules() if rule.build} == {rule.name for rule in rules() if rule.name in own}


def test_docstrings() -> None:
    """Where the docstring of a module lists its rules, the severities are those of `rules.toml`."""
    known = {rule.name: rule for rule in rules()}
    for path in (*CHECKS, *AUDIT):
        for name, severity in re.findall(r"(?m)^``([a-z-]+)`` +(error|warning|note) ", path.read_text("utf-8")):
            assert fits(severity, known[name]), (path, name)


def test_families() -> None:
    """Every rule has a family with an introduction, and every module of rules in `audit.families` is run."""
    names = [family.name for family in families()]

    assert set() == {rule.family for rule in rules()} - set(names)
    assert len(names) == len(set(names))
    assert {*FAMILIES} == {path.stem for path in (SOURCES / "audit" / "families").iterdir()} - {
        "__init__",
        "__pycache__",
    }


def test_texts() -> None:
    """The causes and cures are sentences without a final full stop, because the page and SARIF put them into tables and paragraphs."""
    for rule in rules():
        for text in (rule.cause, rule.cure):
            assert text
            assert text[0] in "`[" or text[0].isupper() or text.startswith(("git ", "lamina ")), rule.name
            assert not text.endswith("."), rule.name
            assert "\n" not in text, rule.name
            assert "|" not in text, rule.name
