"""
Word what is wrong as annotations: ``cdk synth`` shows them all, without a stack trace, and ends with 1 for errors.

An exception would come out as two stack traces, of Python and of JavaScript, and hide whatever else is wrong.
What concerns the whole project is said once in each stack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Annotations, Stack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from constructs import IConstruct

    from lamina.cdk.builds import Problem

# What `Annotations.add_error` adds (aws-cdk-lib 2.275, 2026-11). It would add a stack trace, too, of which the command `cdk` prints
# the first line before the error: a place in the machinery between Python and JavaScript.
_ERROR = "aws:cdk:error"


def add_problems(construct: IConstruct, problems: Iterable[Problem]) -> None:
    """Say *problems* in the stack of *construct*, each once."""
    for problem in problems:
        stack = Stack.of(construct)
        if problem.is_error:
            _add_error(stack, problem.message)
        else:
            # The same text in the same place is said once, whichever constructs say it.
            Annotations.of(stack).add_warning_v2(f"lamina:{problem.rule}", problem.message)


def add_errors(construct: IConstruct, facts: Iterable[str]) -> None:
    """Say errors that *construct* alone has."""
    for fact in facts:
        _add_error(construct, fact)


def _add_error(construct: IConstruct, message: str) -> None:
    node = construct.node
    if not any(entry.type == _ERROR and entry.data == message for entry in node.metadata):
        node.add_metadata(_ERROR, message)


def add_warning(construct: IConstruct, rule: str, message: str) -> None:
    """Say something that can be acknowledged by ``lamina:`` and *rule*."""
    Annotations.of(construct).add_warning_v2(f"lamina:{rule}", message)
