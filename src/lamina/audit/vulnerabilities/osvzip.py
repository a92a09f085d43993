"""Find releases in OSV's zip of all advisories for an ecosystem, without a network. The zip is untrusted."""

from __future__ import annotations

import json
import zlib
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

from lamina.audit.vulnerabilities.record import names_in, read
from lamina.audit.vulnerabilities.values import Advice
from lamina.core.errors import ConfigError, CorruptArchiveError, SuspiciousSizeError
from lamina.core.files import open_regular
from lamina.core.toml import read_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lamina.audit.vulnerabilities.values import Release, Vulnerability

_HINT = "download OSV's zip for PyPI again"
_DAMAGED = (BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error)
_MALFORMED = (AttributeError, KeyError, TypeError, ValueError, RecursionError)


class OsvZip:
    """The advisories in one zip."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._limits = read_data("advisories.toml")["limits"]

    @property
    def place(self) -> str:
        """The path of the zip."""
        return f"OSV's zip `{self._path}`"

    def ask(self, releases: Sequence[Release]) -> Advice:
        """
        Return the vulnerabilities of *releases*.

        Raises `ConfigError` if the zip cannot be opened, `SuspiciousSizeError` if it exceeds a limit, and `CorruptArchiveError` if it is
        damaged or a file in it is no advisory.
        """
        by_name: dict[str, list[Release]] = {}
        for release in releases:
            by_name.setdefault(release.name, []).append(release)
        return Advice(vulnerabilities=tuple(self._found(by_name)))

    def _found(self, by_name: dict[str, list[Release]]) -> Iterator[Vulnerability]:
        # Parsing 20,000 advisories takes seconds. The name of a distribution is in the text of each advisory about it in one spelling
        # or another, so its longest part without separators tells most of the others apart.
        words = {name: max(name.split("-"), key=len).encode() for name in by_name}
        for name, content in self._contents():
            text = content.lower()
            if not any(word in text for word in words.values()):
                continue
            try:
                document = json.loads(content)
                for release in [each for about in names_in(document) for each in by_name.get(about, ())]:
                    if (found := read(document, release)) is not None:
                        yield found
            except _MALFORMED:
                raise CorruptArchiveError(
                    f"`{name}` in `{self._path}` is not an advisory in OSV's format", hint=_HINT
                ) from None

    def _contents(self) -> Iterator[tuple[str, bytes]]:
        """Yield the name and the content of each advisory."""
        limits = self._limits
        try:
            stream = open_regular(self._path)
        except OSError as error:
            raise ConfigError(f"cannot read OSV's zip `{self._path}`: {error.strerror}", hint=_HINT) from error
        with stream:
            try:
                self._bound(stream.seek(0, 2), limits["zip_bytes"], "bytes")
                with ZipFile(stream) as archive:
                    members = archive.infolist()
                    self._bound(len(members), limits["zip_files"], "files")
                    self._bound(sum(each.file_size for each in members), limits["zip_unzipped_bytes"], "bytes unzipped")
                    for member in members:
                        if member.filename.endswith(".json"):
                            yield member.filename, self._content(archive, member)
            except _DAMAGED as error:
                raise CorruptArchiveError(f"`{self._path}` is not a valid zip: {error}", hint=_HINT) from error

    def _content(self, archive: ZipFile, member: Any) -> bytes:
        most = self._limits["advisory_bytes"]
        with archive.open(member) as file:
            content = file.read(most + 1)
        self._bound(len(content), most, f"bytes in `{member.filename}`")
        return content

    def _bound(self, actual: int, most: int, unit: str) -> None:
        if actual > most:
            raise SuspiciousSizeError(f"`{self._path}` has more than {most:,} {unit}", hint=_HINT)
