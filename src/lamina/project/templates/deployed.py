"""Record what a description deploys, and the lines that say so, in one way for all readers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lamina.project.templates.settings import FunctionSettings, Undecided, Unknown, not_python
from lamina.project.templates.types import Deployed, Stated, UnknownSetting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lamina.project.templates.types import Origin

_MOST_ITEMS = 50
_MOST_CANDIDATES = 200


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
    imports: Mapping[int, str] | None = None,
) -> Deployed | None:
    """
    Return the function or layer *name* as it is deployed, or ``None`` if it is not for Python.

    *values* are the evaluated ``runtime``, ``architecture`` and ``layers``: one value each or a list. *place* returns the
    place of the item with an index in one of them. *refer* is the function's, as `FunctionSettings.layers` needs it; a layer has
    none. *handler* and *content* are ignored if they are not texts. *imports* are the names of the exports of other stacks that
    layers are imported from, by their index.
    """
    unknown: dict[tuple[str, str], Origin] = {}
    found: dict[str, tuple[Stated, ...]] = {}
    for setting in ("runtime", "architecture", "layers"):
        written = values.get(setting)
        items = written[:_MOST_ITEMS] if isinstance(written, list) else [written]
        is_layer = setting == "layers" and refer is not None
        stated: dict[Stated, None] = {}
        for index, item in enumerate(items):
            if is_layer and index in (imports or {}):
                continue
            for candidate, is_certain in _possible(item, refer if is_layer else None):
                value = _layer(candidate) if is_layer else candidate
                if isinstance(value, Unknown):
                    unknown.setdefault((setting, value.reason), place(setting, index))
                elif isinstance(value, str) and value:
                    stated[Stated(value=value, origin=place(setting, index), is_certain=is_certain)] = None
        found[setting] = tuple(stated)
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
        imports=tuple(Stated(value=export, origin=place("layers", index)) for index, export in (imports or {}).items()),
        unknown=tuple(
            UnknownSetting(setting=setting, reason=reason, origin=where) for (setting, reason), where in unknown.items()
        ),
    )


def _possible(item: Any, refer: Callable[[Any], Any] | None) -> Iterator[tuple[Any, bool]]:
    """Yield each value that *item* can have in some deployment, or `Unknown`, and whether it has it in all of them."""
    waiting, left = [(item, True)], _MOST_CANDIDATES
    while waiting:
        value, is_certain = waiting.pop()
        value = value if refer is None else refer(value)
        left -= 1
        if left < 0:
            yield Unknown(reason=f"more than {_MOST_CANDIDATES} values are possible"), False
            break
        if isinstance(value, Undecided):
            waiting += [(each, False) for each in reversed(value.candidates)]
        elif isinstance(value, list):
            waiting += [(each, is_certain) for each in reversed(value[:_MOST_ITEMS])]
        else:
            yield value, is_certain


def _layer(value: Any) -> str | Unknown | None:
    """Return the name or the ARN of the layer that *value* is, why it is unknown, or ``None`` if it is not set."""
    settings = FunctionSettings()
    layer = settings.layer(value)
    reason = settings.reasons.get("layers")
    return layer.name if layer is not None else None if reason is None else Unknown(reason=reason)
