"""Pick from a project's builds what a construct wants, and say what does not go together. Nothing here knows CDK."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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
    """The runtimes and architectures that a construct was given, as Lambda calls them; none where it is left to us."""

    runtimes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()

    def fits(self, runtime: str, architectures: Sequence[str]) -> bool:
        """Return whether nothing else is asked for than *runtime* on *architectures*, of which none may be known yet."""
        machines = set(architectures) or set(self.architectures)
        return set(self.runtimes) <= {runtime} and set(self.architectures) <= machines

    def __str__(self) -> str:
        """What was asked for, in words."""
        named = ", ".join(f"`{name}`" for name in (*self.runtimes, *self.architectures))
        return f"the construct was given {named}"


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundLayer:
    """What a layer construct is to be."""

    name: str = ""
    """Empty where no layer could be chosen."""
    target: Target | None = None
    """``None`` where the configuration could not be read."""
    architectures: tuple[str, ...] = ()
    """All that the layer is for; none where nothing was built, since only that tells whether there is native code."""
    layer: Layer | None = None
    """``None`` where nothing was built."""
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundFunction:
    """What a function construct is to be."""

    target: Target | None = None
    """``None`` where the configuration could not be read."""
    function: Function | None = None
    """``None`` where the service has none of that name."""
    package: Package | None = None
    """``None`` where nothing was built."""
    errors: tuple[str, ...] = ()


def find_layer(answer: Answer, name: str | None, requested: RequestedTarget) -> FoundLayer:
    """Return the layer *name*, or else the only or default one, for the target that fits *requested*."""
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
    # Whichever is asked for by its architecture comes first, since that of what was not built fits any.
    unbuilt = sorted(answer.targets, key=lambda target: str(target.architecture) not in requested.architectures)
    found = built or [FoundLayer(name=name, target=target) for target in unbuilt]
    for choice in found:
        if choice.target is not None and requested.fits(choice.target.runtime, choice.architectures):
            return choice
    kinds = dict.fromkeys(platform(each.target.runtime, each.architectures) for each in found if each.target)
    error = (
        f"Layer `{name}` is for {' or '.join(kinds)}, and {requested}\n"
        "hint: leave `compatible_runtimes` and `compatible_architectures` out, or change the target in `[tool.lamina]`"
    )
    return replace(found[0], layer=None, errors=(error,))


def find_function(answer: Answer, name: str, requested: RequestedTarget) -> FoundFunction:
    """Return the function *name* for the target that fits *requested*."""
    if answer.service is None:
        return FoundFunction()
    functions = {function.name: function for function in answer.service.functions}
    targets = answer.targets
    target = _fitting(targets, requested)
    if name not in functions:
        unknown = _no_such("function", name, list(functions))
        return FoundFunction(target=target or targets[0], errors=(unknown,))
    function = functions[name]
    if target is None:
        kinds = " or ".join(f"{each.runtime} on {each.architecture}" for each in targets)
        error = (
            f"Function `{name}` is built for {kinds}, and {requested}\n"
            "hint: leave `runtime` and `architecture` out, or change the target in `[tool.lamina]`"
        )
        return FoundFunction(target=targets[0], function=function, errors=(error,))
    packages = [
        package
        for build in answer.builds
        for package in build.packages
        if build.target == target and package.name == name
    ]
    return FoundFunction(target=target, function=function, package=packages[0] if packages else None)


def platform(runtime: str, architectures: Sequence[str]) -> str:
    """Return what a layer is for in words; its *architectures* may not be known."""
    return f"{runtime} on {' and '.join(architectures)}" if architectures else runtime


def _fitting(targets: Sequence[Target], requested: RequestedTarget) -> Target | None:
    return next((each for each in targets if requested.fits(each.runtime, (str(each.architecture),))), None)


def _no_such(kind: str, name: str | None, known: Sequence[str]) -> str:
    has = ", ".join(f"`{each}`" for each in known) or "none"
    if name is None:
        return (
            f"The service has {len(known)} {kind}s, and the construct does not name one\nhint: `{kind}=`, one of {has}"
        )
    return f"The service has no {kind} `{name}`{did_you_mean(name, known)}\nhint: it has: {has}"
