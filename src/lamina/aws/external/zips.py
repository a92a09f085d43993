"""Provide the zips of layers by ARN: from the store, or else downloaded from AWS, each in the region of its ARN."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from lamina.core.errors import AwsError, IntegrityError, OfflineError
from lamina.core.files import file_sha256, is_own_file
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
            return tuple(ExternalZip(path=self._provide(pin), sha256=pin.sha256) for pin in pins.values())

    def _provide(self, pin: PinnedLayer) -> Path:
        if (path := stored_zip(self._store, pin.sha256)) is not None:
            return path
        if self._offline:
            raise OfflineError(
                f"layer `{pin.arn}` is not in the store, and `--offline` prevents the download",
                hint="run the command once without `--offline`",
            )
        version = self._regions.version(pin.arn)
        check_pin(pin, version)
        return download(version, self._regions.of(pin.arn), self._store, self._reporter)


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


def provide(version: ExternalVersion, layers: ExternalLayers, store: Store, reporter: Reporter) -> Path:
    """Return the zip of *version* in *store*, and download it from *layers* if it is missing. Raises the errors of `download`."""
    return stored_zip(store, version.sha256) or download(version, layers, store, reporter)


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
