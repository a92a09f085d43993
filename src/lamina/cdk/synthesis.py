"""Check at synthesis, when all constructs of a stack exist, what the constructs of lamina cannot check when they are created."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jsii
from aws_cdk import Aspects, IAspect, Token
from aws_cdk.aws_lambda import Alias, CfnFunction

from lamina.cdk.annotations import add_errors
from lamina.cdk.external import own_accounts, refusals
from lamina.cdk.lookup import platform

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aws_cdk import Stack
    from aws_cdk.aws_lambda import Function, LayerVersion
    from constructs import IConstruct

    from lamina.project.service import Service

# The architecture of a function without the property `Architectures` (AWS::Lambda::Function, 2026-11).
_DEFAULT_ARCHITECTURE = "x86_64"


@jsii.implements(IAspect)
class StackCheck:
    """
    Check that no alias of lamina exists twice in a stack, and that no function has a layer for another architecture.

    CloudFormation would report the former during the deployment. The latter would show only when the function fails to import. Functions
    of lamina also have no layer of another account that their project does not allow. All watched constructs of a stack share one
    check, because listing the stack's constructs is a slow call to JavaScript.
    """

    def __init__(self, stack: Stack) -> None:
        """Check the constructs of *stack*, if at least one is watched."""
        self._stack = stack
        self._aliases: dict[str, tuple[str, str]] = {}
        self._layers: dict[LayerVersion, tuple[str, str]] = {}
        self._functions: dict[str, Service] = {}
        self._is_added = self._is_done = False

    def watch_alias(self, alias: Alias, function: Function, name: str) -> None:
        """Report every other alias *name* of *function*."""
        self._aliases[alias.node.path] = (function.node.path, name)
        self._add_to(alias)

    def watch_layer(self, layer: LayerVersion, runtime: str, architectures: Sequence[str]) -> None:
        """Report the functions with *layer* that run on another architecture, if the layer supports only one."""
        if len(architectures) == 1:
            self._layers[layer] = (runtime, architectures[0])
            self._add_to(layer)

    def watch_function(self, function: Function, service: Service) -> None:
        """Report the layers of other accounts that *function* has, but *service* does not allow."""
        self._functions[f"{function.node.path}/Resource"] = service
        self._add_to(function)

    def visit(self, node: IConstruct) -> None:  # noqa: ARG002 - the whole stack is checked
        """Add the errors to the constructs. CDK calls this for the first watched construct and for those below it."""
        if self._is_done:
            return
        self._is_done = True
        found = self._stack.node.find_all()
        for construct, message in (
            *self._repeated_aliases(found),
            *self._unsupported_functions(found),
            *self._external_layers(found),
        ):
            add_errors(construct, [message])

    def _add_to(self, construct: Alias | Function | LayerVersion) -> None:
        if not self._is_added:
            self._is_added = True
            Aspects.of(construct).add(self)

    def _repeated_aliases(self, found: Sequence[IConstruct]) -> Iterator[tuple[IConstruct, str]]:
        watched = set(self._aliases.values())
        # Paths are compared, because one object of JavaScript can have several objects in Python.
        for each in found if watched else ():
            if not isinstance(each, Alias) or (path := each.node.path) in self._aliases:
                continue
            function, name = each.lambda_.node, each.alias_name
            if (function.path, name) in watched:
                message = (
                    f"function `{function.id}` has two aliases `{name}`: `{path}` and the one of `live_alias`\n"
                    f'hint: remove `{path}`, and pass its options to `function.add_alias("{name}", …)` before you call `live_alias`'
                )
                yield each, message

    def _unsupported_functions(self, found: Sequence[IConstruct]) -> Iterator[tuple[IConstruct, str]]:
        references = {str(self._stack.resolve(each.layer_version_arn)): each for each in self._layers}
        # Reading a function's layers is slow, so functions that fit all watched layers are left out first.
        names = {name for _, name in self._layers.values()}
        agreed = names if len(names) == 1 else ()
        place = self._stack.node.path
        for each in found if references else ():
            if not isinstance(each, CfnFunction):
                continue
            architecture, *_ = each.architectures or [_DEFAULT_ARCHITECTURE]
            if Token.is_unresolved(architecture) or architecture in agreed or each.stack.node.path != place:
                continue
            for reference in self._stack.resolve(each.layers) or ():
                layer = references.get(str(reference))
                if layer is None or self._layers[layer][1] == architecture:
                    continue
                runtime, supported = self._layers[layer]
                message = (
                    f"function `{each.node.path.removesuffix('/Resource')}` runs on {architecture}, "
                    f"but layer `{layer.node.id}` supports only {platform(runtime, [supported])}\n"
                    f"hint: give the function the architecture {supported}, or change the target in `[tool.lamina]`"
                )
                yield each, message

    def _external_layers(self, found: Sequence[IConstruct]) -> Iterator[tuple[IConstruct, str]]:
        own = own_accounts(self._stack)
        for each in found if self._functions else ():
            if isinstance(each, CfnFunction) and (service := self._functions.get(each.node.path)) is not None:
                for message in refusals(each, self._stack, service.allow_layers, {*service.accounts, *own}):
                    yield each, message
