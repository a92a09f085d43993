"""Provide the zips of layers by ARN: from the store, or else downloaded from AWS, each in the region of its ARN."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from lamina.core.errors import AwsError, ConfigError, IntegrityError, OfflineError
from lamina.core.files import file_sha256, is_own_file
from lamina.core.frozen import frozen
from lamina.core.reporter import SILENT
from lamina.core.store import Store
from lamina.core.target import quotas
from lamina.core.values import code_sha256
from lamina.project.external import LayerArn
from lamina.project.pinned import EXTERNAL_AREA, ExternalZip, is_pinnable, pin_of, read_pins

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lamina.aws.api.external import ExternalLayers, ExternalVersion
    from lamina.core.reporter import Reporter
    from lamina.project.pinned import PinnedLayer


@frozen
class DownloadedLayer:
    """The zip of a layer version on disk, with what its publisher states."""

    arn: str
    path: Path
    sha256: str
    """The SHA-256 of the zip in lower-case hexadecimal."""
    runtimes: tuple[str, ...]
    """The runtimes that the publisher states; empty for none."""
    architectures: tuple[str, ...]
    license: str | None
    """The licence that the publisher states: a name, an address or a text."""


class ExternalRegions:
    """The layer versions of all accounts, each read in the region of its ARN, with one connection for each region."""

    def __init__(self) -> None:
        self._regions: dict[str, ExternalLayers] = {}

    def of(self, arn: str) -> ExternalLayers:
        """Return the layers of the region of *arn*. Raises the errors of `lamina.aws.api.session.Access.connect`."""
        parsed = LayerArn.parse(arn)
        if parsed is None:
            raise ValueError(f"`{arn}` is not the ARN of a layer")
        if parsed.region not in self._regions:
            # Slow to import, and not needed for a zip in the store.
            from lamina.aws.api.session import Access

            self._regions[parsed.region] = Access(region=parsed.region).connect().external_layers
        return self._regions[parsed.region]

    def version(self, arn: str) -> ExternalVersion:
        """Return the layer version *arn*. Raises `AwsError` if it was deleted or is not shared, or if AWS denies the request."""
        found = self.of(arn).version(arn)
        if found is None:
            raise AwsError(
                f"cannot read layer `{arn}`: the version was deleted, or its publisher does not share it with your account",
                hint="check the ARN and its region against the publisher's documentation; if the version is no longer offered, set a newer "
                "one in `layer-arns`",
            )
        return found


class ExternalDownloads:
    """The zips of the pinned layers of one project. The credentials of AWS are needed only for a zip that the store lacks."""

    def __init__(
        self,
        project: Path,
        *,
        store: Store | None = None,
        offline: bool = False,
        reporter: Reporter = SILENT,
    ) -> None:
        """Use the pins of *project*. If *offline*, use only zips in *store* (default: `Store.open`)."""
        self._project = project
        self._store = Store.open() if store is None else store
        self._offline = offline
        self._reporter = reporter
        self._regions = ExternalRegions()

    def zips(self, arns: Sequence[str]) -> tuple[ExternalZip, ...]:
        """
        Return the zips of the layers *arns*, without those that are not pinned, of which a note tells.

        Raises `IntegrityError` if AWS has other content than the pin, `OfflineError` if a zip must be downloaded and lamina runs offline,
        the errors of reading the pins, and `AwsError`.
        """
        if not arns:
            return ()
        known = read_pins(self._project)
        pins = {arn: pin for arn in arns if (pin := pin_of(arn, known)) is not None}
        for arn in arns:
            if arn not in pins:
                cure = (
                    "to use it, run `lamina pin`"
                    if is_pinnable(arn)
                    else "it is not the ARN of one version of a layer in an account"
                )
                self._reporter.note(f"running without layer `{arn}`, which is not pinned; {cure}")
        with self._store.in_use(self._reporter):
            return tuple(
                ExternalZip(
                    path=_pinned_zip(
                        pin, self._regions, store=self._store, offline=self._offline, reporter=self._reporter
                    ),
                    sha256=pin.sha256,
                )
                for pin in pins.values()
            )


def layer_zip(
    arn: str,
    project: Path | None,
    *,
    store: Store,
    offline: bool,
    reporter: Reporter,
    regions: ExternalRegions | None = None,
) -> DownloadedLayer:
    """
    Return the zip of the layer version *arn*, from *store* or else from AWS.

    If *project* has pinned the layer, the zip is the pinned one, and AWS is asked only if the store lacks it. *regions* are the connections
    to use, if there are any. Raises `ConfigError` if *arn* is not that of one layer version, `IntegrityError` if AWS has other content than
    the pin or than it states, `OfflineError` if a zip must be downloaded and lamina is *offline*, the errors of reading the pins, and
    `AwsError`.
    """
    _check_arn(arn)
    regions = ExternalRegions() if regions is None else regions
    pin = pin_of(arn, read_pins(project)) if project is not None else None
    if pin is None and offline:
        raise OfflineError(
            f"layer `{arn}` is not pinned, and `--offline` prevents the download",
            hint="run the command without `--offline`",
        )
    with store.in_use(reporter):
        if pin is None:
            stated: ExternalVersion | PinnedLayer = (version := regions.version(arn))
            path = stored_zip(store, version.sha256) or download(version, regions.of(arn), store, reporter)
        else:
            stated = pin
            path = _pinned_zip(pin, regions, store=store, offline=offline, reporter=reporter)
    return DownloadedLayer(
        arn=arn,
        path=path,
        sha256=stated.sha256,
        runtimes=stated.runtimes,
        architectures=stated.architectures,
        license=stated.license,
    )


def _check_arn(arn: str) -> None:
    """Raise `ConfigError` if *arn* is not that of one layer version. In `layer-arns`, the deployment may decide the region and more."""
    is_exact = not {"*", "$"} & {*arn}
    if is_exact and is_pinnable(arn):
        return
    if is_exact and LayerArn.parse(arn) is not None:
        raise ConfigError(
            f"`{arn}` names a layer, not one of its versions",
            hint=f"add the number of a version, such as `{arn}:1`",
        )
    raise ConfigError(
        f"`{arn}` is not the ARN of a layer version",
        hint="pass an ARN such as `arn:aws:lambda:eu-west-1:123456789012:layer:common:7`",
    )


def _pinned_zip(pin: PinnedLayer, regions: ExternalRegions, *, store: Store, offline: bool, reporter: Reporter) -> Path:
    """Return the zip of *pin* in *store*, downloaded if it is missing. Raises what `layer_zip` does."""
    if (path := stored_zip(store, pin.sha256)) is not None:
        return path
    if offline:
        raise OfflineError(
            f"layer `{pin.arn}` is not in the store, and `--offline` prevents the download",
            hint="run the command once without `--offline`",
        )
    version = regions.version(pin.arn)
    check_pin(pin, version)
    return download(version, regions.of(pin.arn), store, reporter)


def stored_zip(store: Store, sha256: str) -> Path | None:
    """Return the layer's zip with *sha256* in *store*, or ``None`` if it is missing. A file with other content is deleted."""
    path = place_of(store, sha256)
    if not is_own_file(path):
        return None
    if file_sha256(path) == sha256:
        return path
    store.discard(path)
    return None


def check_pin(pin: PinnedLayer, version: ExternalVersion) -> None:
    """Raise `IntegrityError` if *version*, as AWS describes it, is not what *pin* says."""
    if (difference := pin_difference(pin, version)) is not None:
        raise IntegrityError(
            difference,
            hint="a layer version never changes, so review who changed `lamina-layers.lock`, and restore it from version control; "
            "to trust the layer that AWS has now, delete its entry and run `lamina pin`",
        )


def pin_difference(pin: PinnedLayer, version: ExternalVersion) -> str | None:
    """Return how *version*, as AWS describes it, differs from *pin*, or ``None`` if it does not."""
    if version.code_sha256 == pin.code_sha256 and version.code_bytes == pin.code_size:
        return None
    return (
        f"layer `{pin.arn}` is not the pinned one: `lamina-layers.lock` has SHA-256 `{pin.code_sha256}` and {pin.code_size:,} bytes, "
        f"and AWS has `{version.code_sha256}` and {version.code_bytes:,} bytes"
    )


def download(version: ExternalVersion, layers: ExternalLayers, store: Store, reporter: Reporter) -> Path:
    """
    Download the zip of *version* from *layers* into *store*, and return its path there.

    Raises `IntegrityError` if its size or hash differs from what Lambda states, or if the size exceeds Lambda's limit, and
    `UnreachableError`.
    """
    if version.code_bytes > quotas().unzipped_bytes:
        raise IntegrityError(
            f"layer `{version.arn}` has {version.code_bytes:,} bytes, more than Lambda allows",
            hint="use another version",
        )
    reporter.stage(f"downloading {version.arn.split(':', 6)[-1]}", total=version.code_bytes, unit="bytes")
    digest, size = hashlib.sha256(), 0
    path = place_of(store, version.sha256)
    with store.writing(path) as file:
        for piece in layers.download(version):
            size += len(piece)
            if size > version.code_bytes:
                break
            digest.update(piece)
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]
            reporter.advance(len(piece))
        if size != version.code_bytes or code_sha256(digest.hexdigest()) != version.code_sha256:
            raise IntegrityError(
                f"the download of layer `{version.arn}` does not match the size and SHA-256 that Lambda reports",
                hint="check the network connection and any proxy, and run again",
            )
    return path


def place_of(store: Store, sha256: str) -> Path:
    """Return the path of the layer's zip with *sha256* in *store*, also if it is not there."""
    return store.entry(EXTERNAL_AREA, sha256, ".zip")
