"""
Read what is installed in an environment of Python, such as a virtual environment or one of conda, without running its Python.

Nothing is written, and only regular files of a limited size are read. What the files say is not trusted: a path in a RECORD that
leads out of the environment's ``site-packages`` is ignored.
Format: packaging.python.org, "Recording installed projects" (read 2026-11).
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import re
from functools import cached_property
from typing import TYPE_CHECKING

from lamina.archive.record import ALGORITHMS, RecordRow
from lamina.core.documents import INVALID
from lamina.core.errors import ConfigError
from lamina.core.files import open_regular, read_file
from lamina.core.frozen import frozen
from lamina.core.names import normalized
from lamina.core.paths import flaw, printable
from lamina.core.text import from_here

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_NAME = re.compile(r"(?=.{1,200}\Z)[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9.!+_-]{1,100}")
_PYTHON = re.compile(r"^version(?:_info)?\s*=\s*(\d{1,3})\.(\d{1,3})(?!\d)", re.MULTILINE)
_SYSTEM = re.compile(r"^include-system-site-packages\s*=\s*true\s*$", re.MULTILINE | re.IGNORECASE)
_LIBRARY = re.compile(r"python(\d{1,3})\.(\d{1,3})t?")
_CONDA_PYTHON = re.compile(r"python-(\d{1,3})\.(\d{1,3})\.[^-]+-[^-]+\.json")
_METADATA_BYTES = 4 << 20
_RECORD_BYTES = 16 << 20
_PIECE_BYTES = 1 << 20
_CODE = (".py", ".so", ".pyd", ".pth")
_OF_CREATORS = frozenset({"_virtualenv.py", "_virtualenv.pth"})
"""The files that virtualenv 20 and uv 0.9 put into the environments that they create (2026-11)."""
_EDITABLE = re.compile(r"easy-install\.pth|__editable__.*\.(?:pth|py)")
"""The files of editable installations that no RECORD lists."""


@frozen
class InstalledDistribution:
    """One distribution that is installed in an environment."""

    name: str
    """The normalised name (PEP 503)."""
    version: str
    metadata: str
    """The name of the metadata directory or file in ``site-packages``."""
    record: Mapping[str, RecordRow] | None
    """The files in ``site-packages``, by path; ``None`` if the distribution has no RECORD."""
    requires: tuple[str, ...] = ()
    """Its requirements, as in its metadata: not all are valid, and not all apply."""
    installer: str = ""
    """The program that installed it, such as ``pip``; empty if it is unknown."""
    is_editable: bool = False
    """Whether changes of its source directory take effect without another installation."""


class InstalledEnvironment:
    """
    The distributions and files in an environment.

    Raises `ConfigError` if the directory is not an environment of Python.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        """The directory of the environment."""
        self._settings = _text(path / "pyvenv.cfg")
        self.is_conda = (path / "conda-meta").is_dir()
        found = _libraries(path)
        if not found:
            shown = printable(from_here(path))
            raise ConfigError(
                f"`{shown}` is not an environment of Python: it has no `site-packages`"
                if path.is_dir()
                else f"the environment `{shown}` does not exist",
                hint="create one with your package manager, such as `uv sync`, or pass its directory: `--venv PATH`",
            )
        self.site_packages = found[-1]
        """The directory of the installed modules."""

    @cached_property
    def python(self) -> tuple[int, int] | None:
        """The minor version of the environment's Python; ``None`` if no file says it."""
        library = self.site_packages.parent.name
        texts = [*_PYTHON.findall(self._settings), *_LIBRARY.findall(library)]
        if not texts and self.is_conda:
            names = sorted(path.name for path in (self.path / "conda-meta").glob("python-*.json"))
            texts = [found.groups() for name in names if (found := _CONDA_PYTHON.fullmatch(name))]
        return (int(texts[0][0]), int(texts[0][1])) if texts else None

    @property
    def has_system_packages(self) -> bool:
        """Whether code in the environment can also import the packages of the Python that it was created with."""
        return _SYSTEM.search(self._settings) is not None

    @cached_property
    def distributions(self) -> tuple[InstalledDistribution, ...]:
        """All installed distributions, sorted by name. Several versions of one are a mistake of the environment."""
        found = [self._distribution(name) for name in sorted(os.listdir(self.site_packages))]
        return tuple(sorted(filter(None, found), key=lambda each: each.name))

    def path_of(self, path: str) -> str:
        """Return where the environment has *path* of a layer's ``python/``: a wheel's data files are beside the library."""
        place = f"{self.site_packages}/{path}"
        beside = f"{self.path}/{path}"
        return beside if not os.path.lexists(place) and os.path.lexists(beside) else place

    def matches(self, path: str, row: RecordRow) -> bool:
        """Return whether the content of *path* has the size and the hash of *row*. False for what is missing or unreadable."""
        algorithm, _, expected = row.digest.partition("=")
        if algorithm not in ALGORITHMS:
            return False
        try:
            digest = hashlib.new(algorithm)
            with open_regular(self.path_of(path)) as file:
                if row.size and os.fstat(file.fileno()).st_size != int(row.size):
                    return False
                while piece := file.read(_PIECE_BYTES):
                    digest.update(piece)
        except (OSError, ValueError):
            return False
        return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode("ascii") == expected.rstrip("=")

    def tags(self, distribution: InstalledDistribution) -> frozenset[str]:
        """Return the tags of the wheel that *distribution* was installed from, as its WHEEL says, such as ``py3-none-any``."""
        return frozenset(metadata_headers(_text(self.site_packages / distribution.metadata / "WHEEL")).get("tag", ()))

    def foreign_modules(self) -> Iterator[str]:
        """
        Yield the modules in ``site-packages`` that no distribution installed, by path.

        None in a conda environment, and none in the packages of distributions without a RECORD, whose files are unknown.
        """
        if self.is_conda:
            return
        owned = {path for each in self.distributions for path in each.record or ()}
        unknown = {name for each in self.distributions if each.record is None for name in self._top_level(each)}
        for path in sorted(_files(str(self.site_packages))):
            top = path.partition("/")[0]
            if path in owned or top.partition(".")[0] in unknown or path in _OF_CREATORS or _EDITABLE.fullmatch(path):
                continue
            yield path

    def _top_level(self, distribution: InstalledDistribution) -> list[str]:
        listed = _text(self.site_packages / distribution.metadata / "top_level.txt").split()
        return listed or [distribution.name.replace("-", "_")]

    def _distribution(self, entry: str) -> InstalledDistribution | None:
        if not entry.endswith((".dist-info", ".egg-info")) or not _NAME.match(entry):
            return None
        directory = self.site_packages / entry
        metadata = _text(directory / "METADATA") or _text(directory / "PKG-INFO") or _text(directory)
        headers = metadata_headers(metadata)
        if (identity := identified(headers, entry)) is None:
            return None
        name, version = identity
        return InstalledDistribution(
            name=name,
            version=version,
            metadata=entry,
            record=_record(directory / "RECORD"),
            requires=tuple(headers.get("requires-dist", ())),
            installer=_text(directory / "INSTALLER").strip(),
            is_editable=_is_editable(directory / "direct_url.json"),
        )


def record_rows(content: bytes) -> dict[str, RecordRow]:
    """Return the rows of a RECORD, by path. Rows that lead out of its directory, such as scripts, and what is no row are left out."""
    rows = {}
    try:
        for columns in csv.reader(io.StringIO(content.decode("utf-8"), newline="")):
            path = columns[0].removeprefix("./") if len(columns) == 3 else ""
            if flaw(path) is None:
                rows[path] = RecordRow(columns[1], columns[2])
    except (UnicodeDecodeError, csv.Error):
        return {}
    return rows


def _libraries(path: Path) -> list[Path]:
    """Return the ``site-packages`` directories of the environment *path*, that of the latest Python last."""
    found = [each for each in (path / "lib").glob("python3*/site-packages") if _LIBRARY.fullmatch(each.parent.name)]
    found.sort(key=lambda each: [int(number) for number in re.findall(r"\d+", each.parent.name)])
    return [each for each in (path / "Lib" / "site-packages", *found) if each.is_dir()]


def _record(path: Path) -> dict[str, RecordRow] | None:
    try:
        return record_rows(read_file(path, most=_RECORD_BYTES))
    except OSError:
        return None


def _text(path: Path) -> str:
    """Return the text of the file *path*; empty if it is missing, too large or no regular file."""
    try:
        return read_file(path, most=_METADATA_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def metadata_headers(metadata: str) -> dict[str, list[str]]:
    """Return the values of the headers of *metadata*, by name in lower case."""
    found: dict[str, list[str]] = {}
    for line in metadata.replace("\r\n", "\n").partition("\n\n")[0].split("\n"):
        name, colon, value = line.partition(":")
        if colon and name.strip() == name:
            found.setdefault(name.lower(), []).append(value.strip())
    return found


def identified(headers: Mapping[str, list[str]], directory: str) -> tuple[str, str] | None:
    """
    Return the normalised name and the version of a distribution, by the *headers* of its metadata, or else by the name of its metadata *directory*.

    ``None`` if they are not valid.
    """
    stem = (*directory.rpartition(".")[0].split("-"), "")
    name, version = (headers.get(key, [other])[0] for key, other in zip(("name", "version"), stem, strict=False))
    return (normalized(name), version) if _NAME.fullmatch(name) and _VERSION.fullmatch(version) else None


def _is_editable(path: Path) -> bool:
    try:
        return bool(json.loads(_text(path) or "{}").get("dir_info", {}).get("editable"))
    except INVALID:
        return False


def _files(root: str) -> Iterator[str]:
    """Yield the files with code in *root*, by path in it. Links to directories are not followed."""
    for directory, below, names in os.walk(root):
        relative = os.path.relpath(directory, root).replace(os.sep, "/")
        prefix = "" if relative == "." else f"{relative}/"
        below[:] = [name for name in below if name != "__pycache__" and not name.endswith((".dist-info", ".egg-info"))]
        yield from (prefix + name for name in names if name.endswith(_CODE))
