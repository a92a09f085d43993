"""Pin the layers by ARN of a service: find out what AWS has, download it once, and record what it contains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.archive.external import read_contents
from lamina.aws.external.zips import ExternalRegions, check_pin, download
from lamina.core.errors import ArchiveError, AwsError, ConfigError, CredentialsError, LaminaError
from lamina.core.text import count
from lamina.project.pinned import PinnedLayer, is_pinnable, read_pins, write_pins

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lamina.aws.api.external import ExternalVersion
    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.project.service import Service


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinning:
    """The result of `pin_layers`."""

    pins: tuple[PinnedLayer, ...]
    """All pinned layers of the service, sorted by ARN."""
    added: tuple[str, ...]
    """The ARNs of those that were not pinned before."""
    removed: tuple[str, ...]
    """The ARNs of pins that no function has any more."""
    skipped: tuple[str, ...]
    """The ARNs that do not name one version of a layer in an account, so that AWS offers no download."""


def pin_layers(service: Service, arns: Sequence[str], store: Store, *, reporter: Reporter) -> Pinning:
    """
    Pin the layers by ARN of the functions of *service*, and write the file; return the pins.

    A layer that is pinned already is left alone, and AWS is not asked about it, unless it is one of *arns*: then it is compared with what
    AWS has. If *arns* are given, other layers are left alone, and no pin is removed.

    Raises `ConfigError` if one of *arns* is no layer of a function, `IntegrityError` if AWS has other content than a pin, `ArchiveError`
    for an unsafe zip, and `AwsError`. The layers for which there was no error are pinned nevertheless.
    """
    used = tuple(dict.fromkeys(arn for function in service.functions for arn in function.layer_arns))
    if unknown := [arn for arn in arns if arn not in used]:
        raise ConfigError(
            f"no function has the layer `{unknown[0]}`",
            hint=f'set `layer-arns = ["{unknown[0]}"]` for a function first',
        )
    old = {pin.arn: pin for pin in read_pins(service.root)}
    removed = () if arns else tuple(arn for arn in old if arn not in used)
    pins = {arn: pin for arn, pin in old.items() if arn not in removed}
    wanted = [arn for arn in arns or used if is_pinnable(arn)]
    failures = []
    regions = ExternalRegions()
    for arn in wanted:
        if arn in pins and arn not in arns:
            continue
        try:
            version = regions.version(arn)
            if arn in pins:
                check_pin(pins[arn], version)
            else:
                pins[arn] = _pin(version, regions, store, reporter)
        except CredentialsError:
            raise  # the other layers need the same credentials
        except (AwsError, ArchiveError) as error:
            failures.append(error)
    if pins != old:
        write_pins(service.root, pins.values())
    if failures:
        raise _together(failures)
    return Pinning(
        pins=tuple(pins[arn] for arn in sorted(pins)),
        added=tuple(arn for arn in wanted if arn not in old),
        removed=removed,
        skipped=tuple(arn for arn in arns or used if not is_pinnable(arn)),
    )


def _pin(version: ExternalVersion, regions: ExternalRegions, store: Store, reporter: Reporter) -> PinnedLayer:
    path = download(version, regions.of(version.arn), store, reporter)
    reporter.stage("reading the layer")
    try:
        contents = read_contents(path, name=version.arn)
    except ArchiveError as error:
        error.hint = (
            "use another version of the layer, or report it to its publisher; programs may unpack this one differently"
        )
        raise
    return PinnedLayer(
        arn=version.arn,
        code_sha256=version.code_sha256,
        code_size=version.code_bytes,
        runtimes=version.runtimes,
        architectures=version.architectures,
        license=version.license,
        contents=contents,
    )


def _together(failures: Sequence[LaminaError]) -> LaminaError:
    if len(failures) == 1:
        return failures[0]
    hints = dict.fromkeys(error.hint for error in failures if error.hint)
    return AwsError(
        "\n  ".join((f"{count(len(failures), 'layer')} could not be pinned:", *map(str, failures))),
        hint="\n".join(hints),
    )
