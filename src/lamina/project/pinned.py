"""
Read and write ``lamina-layers.lock``, which pins the layers by ARN that lamina does not build.

The file is beside the configuration and belongs into version control. It has no addresses and no credentials. `lamina pin` writes it,
and nothing else does.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from lamina.core import toml
from lamina.core.errors import ConfigError, InvalidConfigError
from lamina.core.files import read_file, replace_file
from lamina.core.frozen import frozen
from lamina.core.text import decoded, undecodable
from lamina.project.external import LayerArn, can_name
from lamina.project.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LOCK_NAME = "lamina-layers.lock"
"""The name of the file, in the directory of the configuration."""
EXTERNAL_AREA = "external"
"""The area of the store with the zips of pinned layers, each named by its SHA-256."""
_VERSION = 1
"""The version of the file. Increase it with every change to what `ExternalContents` of the same zip are: `lamina check` compares them."""
_HEADER = f"""\
# The layers that lamina does not build, pinned by `lamina pin`. Commit this file, and do not edit it.
version = {_VERSION}
"""
_SHA256_BYTES = 32
_RESTORE = "restore the file from version control; or delete it, then run `lamina pin`"
_MINOR = re.compile(r"[0-9]+\.[0-9]+")


@frozen
class ExternalContents:
    """What the zip of a layer contains, as far as lamina's checks need it."""

    unzipped_bytes: int
    """The total size of the files in bytes."""
    modules: tuple[str, ...] = ()
    """
    The modules in ``python/``, sorted: the dotted names of the outermost packages and modules.

    A directory without ``__init__`` is not listed itself, only what is in it, such as ``google.protobuf``.
    """
    site_modules: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """The modules in ``python/lib/pythonX.Y/site-packages/``, by the minor version of Python."""
    extensions: tuple[str, ...] = ()
    """The names of the files in ``extensions/``: programs that Lambda starts beside the function."""

    def modules_for(self, python: tuple[int, int]) -> frozenset[str]:
        """Return the modules that *python*, a minor version, can import from the layer."""
        return frozenset((*self.modules, *dict(self.site_modules).get("{}.{}".format(*python), ())))


@frozen
class PinnedLayer:
    """A layer version by ARN, with the content that it had when `lamina pin` downloaded it."""

    arn: str
    code_sha256: str
    """The SHA-256 of the zip in base64, as Lambda reports it."""
    code_size: int
    """The size of the zip in bytes."""
    contents: ExternalContents
    runtimes: tuple[str, ...] = ()
    """The runtimes that the publisher states; empty for none."""
    architectures: tuple[str, ...] = ()
    """The architectures that the publisher states; empty for none."""
    license: str | None = None
    """The licence that the publisher states: a name, an address or a text."""

    @property
    def sha256(self) -> str:
        """The SHA-256 of the zip in lower-case hexadecimal."""
        return base64.b64decode(self.code_sha256).hex()

    def document(self) -> dict[str, object]:
        """Return the values as in the file, which are JSON values, too."""
        return {
            "arn": self.arn,
            "code_sha256": self.code_sha256,
            "code_size": self.code_size,
            "unzipped_bytes": self.contents.unzipped_bytes,
            "runtimes": list(self.runtimes),
            "architectures": list(self.architectures),
            "license": self.license,
            "modules": list(self.contents.modules),
            "site_modules": {minor: list(modules) for minor, modules in self.contents.site_modules},
            "extensions": list(self.contents.extensions),
        }


@frozen
class ExternalZip:
    """The zip of a pinned layer on disk."""

    path: Path
    sha256: str
    """The pinned SHA-256 in lower-case hexadecimal."""


def is_pinnable(arn: str) -> bool:
    """Return whether *arn* is that of one layer version in an account, so that AWS returns its content; its region may be ``*``."""
    parsed = LayerArn.parse(arn)
    return parsed is not None and parsed.version is not None


def pin_of(arn: str, pins: Iterable[PinnedLayer]) -> PinnedLayer | None:
    """Return the one of *pins* for *arn*, as `Function.layer_arns` has it; with the region ``*``, the first of any region."""
    return next((pin for pin in pins if can_name(arn, pin.arn)), None) if is_pinnable(arn) else None


def read_pins(project: Path) -> tuple[PinnedLayer, ...]:
    """
    Return the pinned layers of *project*, sorted by ARN; none if it has no such file.

    Raises `ConfigError` if the file is unreadable, and `InvalidConfigError` with all mistakes if its content is invalid.
    """
    try:
        document = toml.parse(decoded(read_file(project / LOCK_NAME)))
    except FileNotFoundError:
        return ()
    except UnicodeDecodeError as error:
        raise ConfigError(f"`lamina-layers.lock` {undecodable(error)}", hint=_RESTORE) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"failed to read `lamina-layers.lock`: {error}", hint=_RESTORE) from error
    mistakes: list[tuple[str, str]] = []
    table = Table(document, key="", mistakes=mistakes)
    if (version := table.integer("version")) != _VERSION and not mistakes:
        table.complain("version", f"expected {_VERSION}, found {version}; another version of lamina wrote the file")
    pins: list[PinnedLayer] = []
    for row in table.tables("layer") or ():
        pin = _read(row)
        if pin is not None and any(pin.arn == other.arn for other in pins):
            row.complain("arn", f"`{pin.arn}` is in the file twice")
        elif pin is not None:
            pins.append(pin)
    table.done()
    if mistakes:
        raise InvalidConfigError(file=LOCK_NAME, mistakes=mistakes, hint=_RESTORE)
    return tuple(sorted(pins, key=lambda pin: pin.arn))


def write_pins(project: Path, pins: Iterable[PinnedLayer]) -> None:
    """Write *pins* to the file of *project*, sorted by ARN; delete the file if there are none."""
    rows = [_row(pin) for pin in sorted(pins, key=lambda pin: pin.arn)]
    if rows:
        replace_file(project / LOCK_NAME, "\n".join((_HEADER, *rows)).encode())
    else:
        (project / LOCK_NAME).unlink(missing_ok=True)


def _row(pin: PinnedLayer) -> str:
    lines = [f"{name} = {toml.value(value)}" for name, value in pin.document().items() if value not in (None, [], {})]
    return "\n".join(("[[layer]]", *lines, ""))


def _read(row: Table) -> PinnedLayer | None:
    """Return the pinned layer in *row*, or record mistakes and return ``None``."""
    arn, code_sha256 = row.string("arn"), row.string("code_sha256")
    code_size, unzipped_bytes = row.integer("code_size"), row.integer("unzipped_bytes")
    lists = {name: row.strings(name) or () for name in ("runtimes", "architectures", "modules", "extensions")}
    site = row.table("site_modules")
    license_info = row.string("license")
    if arn is not None and (not is_pinnable(arn) or "*" in arn):
        row.complain("arn", f"`{arn}` is not the ARN of a layer version")
    if code_sha256 is not None and not _is_sha256(code_sha256):
        row.complain("code_sha256", f"`{code_sha256}` is not a SHA-256 in base64")
    for name, size in (("code_size", code_size), ("unzipped_bytes", unzipped_bytes)):
        if size is not None and size < 0:
            row.complain(name, "expected a number of bytes, found a negative number")
    for name in site or ():
        if site is not None and _MINOR.fullmatch(name) is None:
            site.complain(name, "expected a minor version of Python, such as `3.13`")
    row.done()
    required = {"arn": arn, "code_sha256": code_sha256, "code_size": code_size, "unzipped_bytes": unzipped_bytes}
    for name, value in required.items():
        if value is None and name not in row:
            row.complain(name, "missing required key")
    if arn is None or code_sha256 is None or code_size is None or unzipped_bytes is None:
        return None
    return PinnedLayer(
        arn=arn,
        code_sha256=code_sha256,
        code_size=code_size,
        runtimes=lists["runtimes"],
        architectures=lists["architectures"],
        license=license_info,
        contents=ExternalContents(
            unzipped_bytes=unzipped_bytes,
            modules=lists["modules"],
            site_modules=() if site is None else tuple((name, site.strings(name) or ()) for name in site),
            extensions=lists["extensions"],
        ),
    )


def _is_sha256(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == _SHA256_BYTES
    except (binascii.Error, ValueError):
        return False
