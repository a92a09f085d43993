"""
Report errors and warnings as annotations. ``cdk synth`` shows all of them without a stack trace, and exits with 1 for errors.

An exception would print two stack traces, of Python and of JavaScript, and hide all further errors. A problem of a project is reported
once in each stack that uses the project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Annotations, Stack

from lamina.core.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from constructs import IConstruct

    from lamina.cdk.builds import Problem

# The metadata type that `Annotations.add_error` adds (aws-cdk-lib 2.275, 2026-11). `Annotations.add_error` would also add a stack trace.
# The command `cdk` prints the trace's first line before the error: a line in the bridge between Python and JavaScript.
_ERROR = "aws:cdk:error"


def add_problems(construct: IConstruct, problems: Iterable[Problem]) -> None:
    """Add *problems* as annotations to the stack of *construct*, each at most once."""
    for problem in problems:
        stack = Stack.of(construct)
        if problem.is_error:
            _add_error(stack, problem.message)
        else:
            # CDK ignores a warning that the stack already has.
            Annotations.of(stack).add_warning_v2(f"lamina:{problem.rule}", visible(problem.message))


def add_errors(construct: IConstruct, facts: Iterable[str]) -> None:
    """Add the error messages *facts* to *construct*, each at most once."""
    for fact in facts:
        _add_error(construct, fact)


def _add_error(construct: IConstruct, message: str) -> None:
    node, message = construct.node, visible(message)
    if not any(entry.type == _ERROR and entry.data == message for entry in node.metadata):
        node.add_metadata(_ERROR, message)


def add_warning(construct: IConstruct, rule: str, message: str) -> None:
    """Add a warning to *construct*, which an app can acknowledge under the id ``lamina:<rule>``."""
    Annotations.of(construct).add_warning_v2(f"lamina:{rule}", visible(message))
