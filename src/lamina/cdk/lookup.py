"""Find the layer or function for a construct in a project's builds, and describe mismatches. This module does not import CDK."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lamina.core.text import count
from lamina.project.functions import DEFAULT_LAYER
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.cdk.builds import Answer
    from lamina.core.target import Target
    from lamina.core.values import Layer, Package
    from lamina.project.service import Function


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestedTarget:
    """The runtimes and architectures passed to a construct, by their names in Lambda; empty if the construct leaves the choice to lamina."""

    runtimes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()

    def fits(self, runtime: str, architectures: Sequence[str]) -> bool:
        """Return whether *runtime* on *architectures* satisfies the request. Empty *architectures* are unknown and satisfy every requested one."""
        machines = set(architectures) or set(self.architectures)
        return set(self.runtimes) <= {runtime} and set(self.architectures) <= machines

    def __str__(self) -> str:
        named = ", ".join(f"`{name}`" for name in (*self.runtimes, *self.architectures))
        return f"the construct requests {named}"


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundLayer:
    """The layer found for a construct, or errors that state why there is none."""

    name: str = ""
    """The layer's name; empty if no layer could be chosen."""
    target: Target | None = None
    """The layer's target; ``None`` if the configuration could not be read."""
    architectures: tuple[str, ...] = ()
    """All architectures that the layer supports. Empty if it was not built: only a build shows whether it has native code."""
    layer: Layer | None = None
    """The built layer; ``None`` if it was not built."""
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFunction:
    """The function found for a construct, or errors that state why there is none."""

    name: str = ""
    """The function's name, also if the service has no such function; empty if no function could be chosen."""
    target: Target | None = None
    """The function's target; ``None`` if the configuration could not be read."""
    function: Function | None = None
    """The configured function; ``None`` if the service has no function of that name."""
    package: Package | None = None
    """The function's package; ``None`` if it was not built."""
    errors: tuple[str, ...] = ()


def find_layer(answer: Answer, name: str | None, requested: RequestedTarget) -> FoundLayer:
    """
    Return the layer *name* for the first target that matches *requested*. The result has an error if either does not exist.

    Without *name*, the layer is the service's only one, or the one named ``common``.
    """
    if answer.service is None:
        return FoundLayer()
    known = [layer.name for layer in answer.service.layers]
    if name is None:
        name = known[0] if len(known) == 1 else next((each for each in known if each == DEFAULT_LAYER), None)
    if name not in known:
        return FoundLayer(target=answer.targets[0], errors=(_no_such("layer", name, known),))
    built = [
        FoundLayer(name=name, target=build.target, architectures=build.architectures(layer), layer=layer)
        for build in answer.builds
        for layer in build.layers
        if layer.name == name
    ]
    # Targets with a requested architecture come first, because a layer that was not built matches every architecture.
    unbuilt = sorted(answer.targets, key=lambda target: str(target.architecture) not in requested.architectures)
    found = built or [FoundLayer(name=name, target=target) for target in unbuilt]
    for choice in found:
        if choice.target is not None and requested.fits(choice.target.runtime, choice.architectures):
            return choice
    kinds = dict.fromkeys(platform(each.target.runtime, each.architectures) for each in found if each.target)
    error = (
        f"layer `{name}` supports {' or '.join(kinds)}, but {requested}\n"
        "hint: omit `compatible_runtimes` and `compatible_architectures` from the construct, or change the target in `[tool.lamina]`"
    )
    return replace(found[0], layer=None, errors=(error,))


def find_function(answer: Answer, name: str | None, requested: RequestedTarget) -> FoundFunction:
    """
    Return the function *name* for the first target that matches *requested*. The result has an error if either does not exist.

    Without *name*, the function is the service's only one.
    """
    if answer.service is None:
        return FoundFunction(name=name or "")
    functions = {function.name: function for function in answer.service.functions}
    if name is None and len(functions) == 1:
        (name,) = functions
    targets = answer.targets
    target = _fitting(targets, requested)
    if name is None or name not in functions:
        unknown = _no_such("function", name, list(functions))
        return FoundFunction(name=name or "", target=target or targets[0], errors=(unknown,))
    function = functions[name]
    if target is None:
        kinds = " or ".join(f"{each.runtime} on {each.architecture}" for each in targets)
        error = (
            f"function `{name}` is configured for {kinds}, but {requested}\n"
            "hint: omit `runtime` and `architecture` from the construct, or change the target in `[tool.lamina]`"
        )
        return FoundFunction(name=name, target=targets[0], function=function, errors=(error,))
    packages = [
        package
        for build in answer.builds
        for package in build.packages
        if build.target == target and package.name == name
    ]
    return FoundFunction(name=name, target=target, function=function, package=packages[0] if packages else None)


def platform(runtime: str, architectures: Sequence[str]) -> str:
    """Return *runtime* and *architectures* as text, such as ``python3.13 on arm64``; unknown (empty) architectures are omitted."""
    return f"{runtime} on {' and '.join(architectures)}" if architectures else runtime


def _fitting(targets: Sequence[Target], requested: RequestedTarget) -> Target | None:
    return next((each for each in targets if requested.fits(each.runtime, (str(each.architecture),))), None)


def _no_such(kind: str, name: str | None, known: Sequence[str]) -> str:
    if not known:
        return f"the service has no {kind}s\nhint: add one to `[tool.lamina.{kind}s]`"
    has = ", ".join(f"`{each}`" for each in known)
    if name is None:
        return f"the service has {count(len(known), kind)}, but the construct does not name one\nhint: pass `{kind}=` with one of {has}"
    return f"the service has no {kind} `{name}`{did_you_mean(name, known)}\nhint: available {kind}s: {has}"
