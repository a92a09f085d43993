"""Find what must change in deploy descriptions when a layout is written: they attach the layers and deploy the zips by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.audit.templates.descriptions import descriptions_of
from lamina.pipeline.report import OUTPUT_DIRECTORY
from lamina.project.external import may_be_same
from lamina.project.service import Packaging
from lamina.project.templates.types import Tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.advise.values import Layout, LayoutFunction
    from lamina.audit.templates.descriptions import ReadDescription
    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.project.service import Function, Service
    from lamina.project.templates.types import Deployed


def following(service: Service, layout: Layout, store: Store, reporter: Reporter) -> Iterator[str]:
    """Yield what to change in each deploy description of *service*, so that it deploys *layout*, and what could not be read."""
    descriptions, unread = descriptions_of(service, store, reporter)
    wanted = {each.name: each for each in layout.functions}
    for description in descriptions:
        changes: dict[str, list[str]] = {}
        for deployed in description.functions:
            function = _configured(deployed, service)
            if function is not None:
                for change in _changes(deployed, function, wanted[function.name], description):
                    changes.setdefault(change, []).append(f"`{deployed.label}`")
        if not changes:
            continue
        rows = "; ".join(f"{', '.join(labels)}: {change}" for change, labels in changes.items())
        yield f"`{description.template.path}` must follow before the next deploy ({_made_by(description)}): {rows}"
    yield from (each.message for each in unread)


def _made_by(description: ReadDescription) -> str:
    tool = description.template.tool
    return "run `cdk synth` again if lamina's constructs make it" if tool is Tool.CDK else tool.value


def _configured(deployed: Deployed, service: Service) -> Function | None:
    """Return the function that *deployed* is: the one with its name or zip, or else the only one with its handler."""
    named = [each for each in service.functions if each.name in deployed.claimed_names]
    alike = named or [each for each in service.functions if each.handler == deployed.handler]
    return alike[0] if len(alike) == 1 else None


def _changes(
    deployed: Deployed, function: Function, wanted: LayoutFunction, description: ReadDescription
) -> Iterator[str]:
    """Yield what differs between *deployed*, which is *function*, and *wanted*. Its layers by ARN stay."""
    outputs = description.project / OUTPUT_DIRECTORY
    known: set[str] = set()
    others = bool(deployed.imports) or any(each.setting == "layers" for each in deployed.unknown)
    for stated in deployed.layers:
        path = description.path(description.layer(stated.value))
        if path is not None and path.is_relative_to(outputs):
            known.add(path.stem)
        elif not any(may_be_same(stated.value, arn) for arn in function.layer_arns):
            others = True
    names = set(wanted.layers) if wanted.packaging is Packaging.LAYER else set()
    if others:
        own = ", ".join(f"`{name}`" for name in sorted(names))
        yield f"its layers of this service must be exactly {own}" if names else "it must have no layer of this service"
    else:
        for name in sorted(names - known):
            yield f"attach the layer `{name}` (`{OUTPUT_DIRECTORY}/layers/{name}.zip`)"
        for name in sorted(known - names):
            yield f"remove the layer `{name}`"
    content = description.path(deployed)
    if wanted.packaging is Packaging.ZIP and content is not None and not content.is_relative_to(outputs):
        yield f"deploy its zip in `{OUTPUT_DIRECTORY}/functions`, which has the distributions"
