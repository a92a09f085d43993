"""Record what a description deploys, and the lines that say so, in one way for all readers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.project.templates.settings import FunctionSettings, Unknown, not_python
from lamina.project.templates.types import Deployed, Stated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lamina.project.templates.types import Origin

_MOST_ITEMS = 50


def deployed(
    name: str,
    values: Mapping[str, Any],
    place: Callable[[str, int], Origin],
    *,
    origin: Origin,
    refer: Callable[[Any], Any] | None = None,
    handler: Any = None,
    content: Any = None,
    construct: str | None = None,
    imports: tuple[Stated, ...] = (),
) -> Deployed | None:
    """
    Return the function or layer *name* as it is deployed, or ``None`` if it is not for Python.

    *values* are the evaluated ``runtime``, ``architecture`` and ``layers``: one value each or a list. *place* returns the
    place of the item with an index in one of them. *refer* is the function's, as `FunctionSettings.layers` needs it; a layer has
    none. *handler* and *content* are ignored if they are not texts.
    """
    settings = FunctionSettings()
    found: dict[str, tuple[Stated, ...]] = {}
    for setting in ("runtime", "architecture", "layers"):
        written = values.get(setting)
        items = written[:_MOST_ITEMS] if isinstance(written, list) else [written]
        if setting == "layers" and refer is not None:
            references = [settings.layer(refer(item)) for item in items]
            items = [None if reference is None else reference.name for reference in references]
        for item in items:
            if isinstance(item, Unknown):
                settings.mark_unknown(setting, item.reason)
        found[setting] = tuple(
            Stated(value=item, origin=place(setting, index))
            for index, item in enumerate(items)
            if isinstance(item, str) and item
        )
    runtimes = found["runtime"]
    if runtimes and all(not_python(each.value) for each in runtimes):
        return None
    return Deployed(
        name=name,
        origin=origin,
        is_layer=refer is None,
        construct=construct,
        handler=handler if isinstance(handler, str) else None,
        content=content if isinstance(content, str) else None,
        runtimes=runtimes,
        architectures=found["architecture"],
        layers=found["layers"],
        imports=imports,
        unknown=settings.unknown,
    )
