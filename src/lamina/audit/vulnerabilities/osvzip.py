"""Find releases in OSV's zip of all advisories for an ecosystem, without a network. The zip is untrusted."""

from __future__ import annotations

import json
import re
import struct
import zlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

from lamina.audit.vulnerabilities.record import MALFORMED, is_id, is_of_python, names_in, read, unreadable
from lamina.audit.vulnerabilities.values import Advice
from lamina.core.errors import ConfigError, CorruptArchiveError, SuspiciousSizeError
from lamina.core.files import open_regular
from lamina.core.toml import read_data

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lamina.audit.vulnerabilities.values import Release, Vulnerability

_DAMAGED = (
    BadZipFile,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    zlib.error,
)
_ECOSYSTEM = b'"pypi'
# Characters of names as JSON can also write them, such as `\\u0061`. Such text is not searched but parsed.
_ESCAPED = re.compile(rb"\\u00(?:2[de]|3[0-9]|[46][1-9a-f]|[57][0-9a]|5f)")


class OsvZip:
    """The advisories in one zip."""

    def __init__(self, path: Path) -> None:
        self._path = path
        facts = read_data("advisories.toml")
        self._limits = facts["limits"]
        self._hint = f"download OSV's zip for Python: {facts['osv']['zip']['url']}"

    @property
    def place(self) -> str:
        """The path of the zip."""
        return f"OSV's zip `{self._path}`"

    def ask(self, releases: Sequence[Release]) -> Advice:
        """
        Return the vulnerabilities of *releases*.

        Raises `ConfigError` if the zip cannot be opened or has no advisories about Python distributions, `SuspiciousSizeError` if it
        exceeds a limit, and `CorruptArchiveError` if it is damaged.
        """
        by_name: dict[str, list[Release]] = {}
        for release in releases:
            by_name.setdefault(release.name, []).append(release)
        return Advice(vulnerabilities=tuple(self._found(by_name)))

    def _found(self, by_name: dict[str, list[Release]]) -> Iterator[Vulnerability]:
        # Parsing 20,000 advisories takes seconds. The name of a distribution is in the text of each advisory about it in one spelling
        # or another, so its longest part without separators tells most of the others apart.
        words = [max(name.split("-"), key=len).encode() for name in by_name]
        is_of_python_alone = False
        for path, content in self._contents():
            lower = content.lower()
            is_needed = not is_of_python_alone and _ECOSYSTEM in lower
            if is_needed or any(word in lower for word in words) or _is_disguised(lower):
                document = _parsed(content)
                # The zips of other ecosystems have advisories about Python, too: those that are also about the other ecosystem.
                is_of_python_alone = is_of_python_alone or _is_of_python(document)
                yield from _in_advisory(document, lower, path, by_name)
        if not is_of_python_alone:
            raise ConfigError(f"`{self._path}` has no advisories about Python distributions", hint=self._hint)

    def _contents(self) -> Iterator[tuple[str, bytes]]:
        """Yield the name and the content of each advisory."""
        limits = self._limits
        try:
            stream = open_regular(self._path)
        except OSError as error:
            raise ConfigError(f"cannot read OSV's zip `{self._path}`: {error.strerror}", hint=self._hint) from error
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
                raise CorruptArchiveError(f"`{self._path}` is not a valid zip: {error}", hint=self._hint) from error

    def _content(self, archive: ZipFile, member: Any) -> bytes:
        most = self._limits["advisory_bytes"]
        if member.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
            raise BadZipFile(f"`{member.filename}` is compressed with another method than deflate")
        with archive.open(member) as file:
            content = file.read(most + 1)
        self._bound(len(content), most, f"bytes in `{member.filename}`")
        return content

    def _bound(self, actual: int, most: int, unit: str) -> None:
        if actual > most:
            raise SuspiciousSizeError(f"`{self._path}` has more than {most:,} {unit}", hint=self._hint)


def _is_disguised(content: bytes) -> bool:
    """Return whether *content* may have names that no search for their letters finds: with escapes, or in UTF-16 or UTF-32."""
    return b"\0" in content or (b"\\u00" in content and _ESCAPED.search(content) is not None)


def _parsed(content: bytes) -> Any:
    """Return the JSON value *content*; ``None`` if it is not JSON."""
    try:
        return json.loads(content)
    except MALFORMED:
        return None


def _is_of_python(document: Any) -> bool:
    try:
        return is_of_python(document)
    except MALFORMED:
        return False


def _in_advisory(document: Any, lower: bytes, path: str, by_name: dict[str, list[Release]]) -> Iterator[Vulnerability]:
    """Yield what the file *path* with the parsed *document* says of the releases *by_name*. *lower* is its text in lower case."""
    try:
        about = names_in(document)
    except MALFORMED:
        # It is unknown what an invalid advisory is about: it counts for the names that it quotes.
        about = frozenset(name for name in by_name if re.search(_quoted(name), lower))
    for release in [release for name in sorted(about) for release in by_name.get(name, ())]:
        try:
            found = read(document, release)
        except MALFORMED:
            found = unreadable(_identity(document, path), release)
        if found is not None:
            yield found


def _identity(document: Any, path: str) -> str:
    """Return the ID of the invalid advisory *document*, by which OSV also names the file *path*."""
    stated = document.get("id") if isinstance(document, dict) else None
    return next((str(each) for each in (stated, PurePosixPath(path).stem) if is_id(each)), "unnamed-advisory")


def _quoted(name: str) -> bytes:
    """Return a pattern for the JSON string of the normalised *name* in any of its spellings in lower case."""
    return b'"' + b"[-_.]+".join(re.escape(part.encode()) for part in name.split("-")) + b'"'
