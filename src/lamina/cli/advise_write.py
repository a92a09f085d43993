"""``lamina advise --write``: put a packaging into the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from lamina.advise.advice import PackagingAdvice
    from lamina.advise.values import Layout
    from lamina.cli.console import Console
    from lamina.pipeline.context import BuildContext

RECOMMENDED = "recommended"
"""The value of ``--write`` without a layout."""
_NOT_WRITTEN = ("group", "extra", "runtime", "architecture")
"""The options that select what the configuration does not, so that a layout with it cannot be built without them."""


def check_options(arguments: argparse.Namespace) -> None:
    """Raise `ConfigError` for options that conflict with ``--write``, or need it."""
    from lamina.core.errors import ConfigError

    if arguments.write is None:
        if arguments.yes:
            raise ConfigError("`--yes` is only allowed with `--write`", hint="see `lamina advise --help`")
        return
    if arguments.why is not None:
        raise ConfigError("`--write` conflicts with `--why`", hint="remove one of the two options")
    for name in _NOT_WRITTEN:
        if getattr(arguments, name):
            raise ConfigError(
                f"`--write` conflicts with `--{name}`: the packaging of the configuration is written",
                hint=f"set it in the configuration, and remove `--{name}`",
            )


def write(arguments: argparse.Namespace, context: BuildContext, advice: PackagingAdvice, console: Console) -> int:
    """
    Show the change of the configuration, and write it if the user agrees. Return 1 if the user does not.

    Raises `CheckFailedError` if there is no such layout that can be built and deployed, or the recommendation is a container image,
    `ConfigError` if no one can answer, and the errors of `layout_change`.
    """
    from lamina.advise.followers import following
    from lamina.advise.layouts import configured
    from lamina.advise.write import layout_change
    from lamina.cli.asking import agreed
    from lamina.core.text import from_here
    from lamina.pipeline.plan import resolve
    from lamina.project.config import load

    layout = _chosen(arguments.write, advice)
    service = load(context.project, context.options, store=context.store)
    main, *others = resolve(context, service).targets
    selections = [each for other in others for each in (*(part.selection for part in other.contents), *other.unused)]
    elsewhere = frozenset(pin.name for each in selections for pin in each.pins)
    here = frozenset(each.name for each in advice.needs.distributions)
    found = layout_change(service, advice.needs, layout, current=configured(main), elsewhere=elsewhere - here)
    if found is None:
        console.say(f"the configuration has this packaging already: {layout.title}")
        return 0
    console.say(*found.change.diff)
    for note in found.notes:
        console.note(note)
    if others and any(each.distributions != here for each in found.layout.layers):
        targets = ", ".join(str(each.service.target) for each in others)
        console.note(
            f"what functions need was found for {service.target}; `lamina build` also checks the imports for {targets}"
        )
    for note in following(service, found.layout, context.store, console):
        console.note(note)
    path = from_here(found.change.path)
    if not agreed(arguments, f"Change `{path}`?", console, hint="agree in advance: `lamina advise --write --yes`"):
        return 1
    found.change.write()
    console.say(f"changed `{path}`; run `lamina build` to build it")
    return 0


def _chosen(name: str, advice: PackagingAdvice) -> Layout:
    from lamina.core.errors import CheckFailedError

    layout = advice.recommendation.layout
    if name != RECOMMENDED:
        row = next((each for each in advice.rows if each.kind.value == name), None)
        layout = None if row is None else row.layout
    elif layout is not None:
        row = next((each for each in advice.rows if each.layout == layout), None)
    else:
        raise CheckFailedError(
            "lamina does not build container images, so it cannot configure the recommended packaging",
            hint="to see what makes a function large, run `lamina build --dry-run`; set `exclude` for files that you do not use",
        )
    obstacle = "" if row is None else row.obstacle
    if layout is None or obstacle:
        raise CheckFailedError(
            f"there is no packaging `{name}` to configure{f': {obstacle or row.note}' if row is not None else ''}",
            hint="see the others: `lamina advise`",
        )
    return layout
