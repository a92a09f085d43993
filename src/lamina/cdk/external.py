"""Refuse functions with layers of other accounts, unless the configuration of a project allows them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsii
from aws_cdk import IAspect, Stack, Token
from aws_cdk.aws_lambda import CfnFunction

from lamina.cdk.annotations import add_errors, add_problems
from lamina.cdk.builds import SHARED
from lamina.project.external import is_refused
from lamina.project.publishers import cure, described
from lamina.project.templates.cloudformation.intrinsics import Evaluation, Evaluator
from lamina.project.templates.settings import UnknownPart

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from os import PathLike

    from constructs import IConstruct

    from lamina.project.external import AllowedLayer


@jsii.implements(IAspect)
class RefuseExternalLayers:
    """
    An aspect that adds an error to each function with a layer of another account that no project allows.

    `PythonFunction` does so without the aspect. The aspect also checks the functions of other constructs.
    """

    def __init__(self, *entries: str | PathLike[str], accounts: Sequence[str] = ()) -> None:
        """Allow what ``allow-layers`` of the projects at *entries* or above them allows, and the layers of *accounts*."""
        self._entries = tuple(map(Path, entries))
        self._accounts = tuple(accounts)
        self._allowed: tuple[AllowedLayer, ...] | None = None

    def visit(self, node: IConstruct) -> None:
        """Add the errors to *node*, if it is a function."""
        if not isinstance(node, CfnFunction):
            return
        if self._allowed is None:
            self._allowed = tuple(self._read(node))
        stack = Stack.of(node)
        add_errors(node, refusals(node, stack, self._allowed, {*self._accounts, *own_accounts(stack)}))

    def _read(self, node: IConstruct) -> Iterator[AllowedLayer]:
        for entry in self._entries:
            answer = SHARED.ask(entry, app=node.node.root, build=False)
            add_problems(node, answer.problems)
            if answer.service is not None:
                self._accounts += answer.service.accounts
                yield from answer.service.allow_layers


def own_accounts(stack: Stack) -> tuple[str, ...]:
    """Return the account of *stack*; nothing if only the deployment decides it."""
    return () if Token.is_unresolved(stack.account) else (stack.account,)


def refusals(
    function: CfnFunction, stack: Stack, allowed: Collection[AllowedLayer], accounts: Collection[str]
) -> Iterator[str]:
    """Yield an error for each layer of *function* in *stack* that is neither *allowed* nor of one of *accounts*."""
    for layer in stack.resolve(function.layers) or ():
        arn = _arn(layer)
        if arn is not None and is_refused(arn, allowed, accounts):
            path = function.node.path.removesuffix("/Resource")
            fact, hint = f"function `{path}` has the layer {described(arn)} of another account", cure(arn)
            yield f"{fact}\nhint: {hint}"


def _arn(layer: Any) -> str | None:
    """Return the ARN of *layer*, a value of a template; ``None`` if it refers to a layer of a stack or to a parameter."""
    value = Evaluator({}, Evaluation("template.json"), stack=(), given={}).text(layer)
    text = value.pattern if isinstance(value, UnknownPart) else value
    return text if isinstance(text, str) and text.startswith("arn:") else None
