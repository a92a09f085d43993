"""
Refuse layers of other accounts that the configuration does not allow. A service in, findings out.

==================  ========  =============================================================================================
rule                severity  reported if
==================  ========  =============================================================================================
``external-layer``  error     a function has a layer of another account by ARN, and no entry of ``allow-layers`` covers it
==================  ========  =============================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamina.core.files import read_file
from lamina.pipeline.checks.common import error, listed
from lamina.project.external import LayerArn
from lamina.project.publishers import cure, described

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lamina.core.values import Finding
    from lamina.project.service import Service

RULE = "external-layer"


def check(service: Service) -> tuple[Finding, ...]:
    """Return an error for each layer by ARN that functions of *service* have, but its configuration does not allow."""
    functions: dict[str, list[str]] = {}
    for function in service.functions:
        for arn in function.layer_arns:
            functions.setdefault(arn, []).append(function.name)
    return tuple(_refusal(arn, names, service) for arn, names in functions.items() if service.refuses(arn))


def _refusal(arn: str, functions: Sequence[str], service: Service) -> Finding:
    file, line = next(places(arn, service), (None, None))
    return refusal(arn, functions, file=file, line=line)


def refusal(arn: str, functions: Sequence[str], *, file: str | None, line: int | None) -> Finding:
    """Return the error for the layer *arn* that *functions* have, and that *line* of *file* names."""
    fact = f"{listed(functions)}: the layer {described(arn)} is of another account"
    return error(RULE, functions[0], f"{fact}; {cure(arn)}", file=file, line=line)


def places(arn: str, service: Service) -> Iterator[tuple[str, int]]:
    """Yield the files of *service*, relative to its root, and the lines with the layer *arn*: those with the whole ARN first."""
    layer = LayerArn.parse(arn)
    for text in (arn, *((f":{layer.account}:layer:{layer.name}",) if layer is not None else ())):
        for path in service.inputs:
            if path.is_file():
                yield from ((_relative(path, service.root), number) for number in _lines(path, text))


def _lines(path: Path, text: str) -> Iterator[int]:
    for number, line in enumerate(read_file(path).decode("utf-8", "replace").splitlines(), start=1):
        if text in line:
            yield number


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
