"""Pin the layers by ARN of a service: find out what AWS has, download it once, and record what it contains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.archive.external import read_contents
from lamina.aws.external.zips import ExternalRegions, check_pin, download
from lamina.core.errors import ArchiveError, AwsError, ConfigError, CredentialsError, LaminaError
from lamina.core.text import count
from lamina.project.external import LayerArn, can_name, is_layer_version, located
from lamina.project.pinned import PinnedLayer, is_pinnable, pin_of, read_pins, write_pins

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lamina.aws.api.external import ExternalVersion
    from lamina.core.reporter import Reporter
    from lamina.core.store import Store
    from lamina.project.service import Service

_NO_VERSION = "it is not the ARN of one version of a layer in an account"
_UNKNOWN_VERSION = "only the deployment knows its version; write the version in `layer-arns`"
_UNKNOWN_REGION = "only the deployment knows its region; set `AWS_REGION`, or write the region in `layer-arns`"


@dataclass(frozen=True, kw_only=True, slots=True)
class SkippedLayer:
    """A layer by ARN that cannot be pinned."""

    arn: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinning:
    """The result of `pin_layers`."""

    pins: tuple[PinnedLayer, ...]
    """All pinned layers of the service, sorted by ARN."""
    added: tuple[str, ...]
    """The ARNs of those that were not pinned before."""
    compared: tuple[str, ...]
    """The ARNs of those that AWS has as they are pinned."""
    removed: tuple[str, ...]
    """The ARNs of pins that no function has any more."""
    skipped: tuple[SkippedLayer, ...]
    """The layers that cannot be pinned."""
    error: LaminaError | None = None
    """Why some layers could not be pinned; ``None`` if all could."""


def pin_layers(service: Service, arns: Sequence[str], store: Store, *, reporter: Reporter) -> Pinning:
    """
    Pin the layers by ARN of the functions of *service*, and write the file; return the pins.

    A layer that is pinned already is left alone, and AWS is not asked about it, unless it is one of *arns*: then it is compared with what
    AWS has. If *arns* are given, other layers are left alone, and no pin is removed. A region that only the deployment knows is the one
    region of the configuration's `publish`, or else that of the AWS configuration.

    Raises `ConfigError` if one of *arns* is no layer of a function, and the errors of reading the configuration and the file. Other
    errors are in the result: `IntegrityError` if AWS has other content than a pin, `ArchiveError` for an unsafe zip, and `AwsError`.
    Then the layers without an error are pinned, and no pin is removed.
    """
    used = tuple(dict.fromkeys(arn for function in service.functions for arn in function.layer_arns))
    if unknown := [arn for arn in arns if not _is_used(arn, used)]:
        raise ConfigError(
            f"no function has the layer `{unknown[0]}`",
            hint=f'set `layer-arns = ["{unknown[0]}"]` for a function first',
        )
    old = {pin.arn: pin for pin in read_pins(service.root)}
    pins, skipped, compared = dict(old), [], []
    failures: list[LaminaError] = []
    regions = ExternalRegions()
    for name in arns or used:
        known = pin_of(name, pins.values())
        if known is not None and not arns:
            continue
        try:
            arn = known.arn if known is not None else _whole(name, service)
            if (reason := _mistake(arn)) is not None:
                skipped.append(SkippedLayer(arn=name, reason=reason))
                continue
            version = regions.version(arn)
            if known is not None:
                check_pin(known, version)
                compared.append(arn)
            else:
                pins[arn] = _pin(version, regions, store, reporter)
        except (AwsError, ArchiveError, ConfigError) as error:
            failures.append(error)
            if isinstance(error, (CredentialsError, ConfigError)):
                break  # the other layers need the same credentials and configuration
    removed = () if arns or failures else tuple(arn for arn in old if not _is_used(arn, used))
    added = tuple(arn for arn in pins if arn not in old)
    if added or removed:
        write_pins(service.root, (pin for arn, pin in pins.items() if arn not in removed))
    return Pinning(
        pins=tuple(pins[arn] for arn in sorted(pins) if arn not in removed),
        added=added,
        compared=tuple(compared),
        removed=removed,
        skipped=tuple(skipped),
        error=_together(failures) if failures else None,
    )


def _is_used(arn: str, used: Iterable[str]) -> bool:
    return any(arn == each or can_name(each, arn) for each in used)


def _whole(arn: str, service: Service) -> str:
    """Return *arn* with the partition and region in which the service is published; unchanged if none is configured."""
    if not is_pinnable(arn) or "*" not in arn:
        return arn
    # Slow to import, and needed only for parts that a template leaves open.
    from lamina.aws.api.session import Access
    from lamina.aws.publish.config import load

    regions = load(service.root).regions
    place = Access(region=regions[0] if len(regions) == 1 else None).find_place()
    return arn if place is None else located(arn, partition=place[0], region=place[1])


def _mistake(arn: str) -> str | None:
    """Return why the layer *arn* cannot be pinned, or ``None`` if it can."""
    if not is_pinnable(arn):
        is_layer = is_layer_version(arn) or LayerArn.parse(arn) is not None
        return _UNKNOWN_VERSION if is_layer and arn.endswith(":*") else _NO_VERSION
    return _UNKNOWN_REGION if "*" in arn else None


def _pin(version: ExternalVersion, regions: ExternalRegions, store: Store, reporter: Reporter) -> PinnedLayer:
    path = download(version, regions.of(version.arn), store, reporter)
    reporter.stage("reading the layer")
    try:
        contents = read_contents(path, name=version.arn)
    except ArchiveError as error:
        path.unlink(missing_ok=True)
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
