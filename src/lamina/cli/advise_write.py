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


def write(arguments: argparse.Namespace, context: BuildContext, advice: PackagingAdvice, console: Console) -> int:
    """
    Show the change of the configuration, and write it if the user agrees. Return 1 if the user does not.

    Raises `CheckFailedError` if there is no such layout, or the recommendation is a container image, `ConfigError` if no one can answer,
    and the errors of `layout_change`.
    """
    from lamina.advise.write import layout_change
    from lamina.cli.asking import agreed
    from lamina.core.text import from_here
    from lamina.project.config import load

    layout = _chosen(arguments.write, advice)
    found = layout_change(load(context.project, store=context.store), advice.needs, layout)
    if found is None:
        console.say(f"the configuration has this packaging already: {layout.title}")
        return 0
    console.say(*found.change.diff)
    for note in found.notes:
        console.note(note)
    path = from_here(found.change.path)
    if not agreed(arguments, f"Change `{path}`?", console, hint="agree in advance: `lamina advise --write --yes`"):
        return 1
    found.change.write()
    console.say(f"changed `{path}`; run `lamina build` to build it")
    return 0


def _chosen(name: str, advice: PackagingAdvice) -> Layout:
    from lamina.core.errors import CheckFailedError

    row = next((each for each in advice.rows if each.kind.value == name), None)
    layout = advice.recommendation.layout if row is None else row.layout
    if layout is not None:
        return layout
    if row is None and name == RECOMMENDED:
        raise CheckFailedError(
            "lamina does not build container images, so it cannot configure the recommended packaging",
            hint="to see what makes a function large, run `lamina build --dry-run`; set `exclude` for files that you do not use",
        )
    raise CheckFailedError(
        f"there is no packaging `{name}` to configure{f': {row.note}' if row is not None else ''}",
        hint="see the others: `lamina advise`",
    )
