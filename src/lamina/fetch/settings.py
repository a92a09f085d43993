"""
Read the index settings of a project from the command line and the configuration of uv and pip, without network access.

Settings come from these places, in this order: the caller's arguments, ``UV_*`` variables, ``PIP_*`` variables, ``uv.toml`` or
``[tool.uv]``, and pip's configuration files. The first place with a default index determines it; if there is none, the default
of pip and uv is used. Additional indexes are collected from all places. Querying several indexes is safe, because a file must
have a locked hash.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.core.errors import ConfigError
from lamina.core.files import read_file
from lamina.core.indexes import default_index
from lamina.core.text import decoded
from lamina.core.toml import parse
from lamina.core.urls import ENCODING_HINT, InvalidUrlError, split_userinfo
from lamina.fetch.credentials import Credentials, Login, unreadable
from lamina.lock.reading import LayoutError, LockTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_PIP_SECTIONS = ("global", "install")
_PIP_KEYS = ("index-url", "extra-index-url", "find-links", "no-index", "cert")


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexSource:
    """A package index, or a single page or directory of files (``--find-links``)."""

    url: str
    """The URL, without credentials; ``file://`` if local."""
    flat: bool = False
    """Whether `url` lists the files of all projects at once, instead of having a page for each project."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexSettings:
    """The indexes of a project, with credentials and certificates."""

    sources: tuple[IndexSource, ...]
    """The indexes to query, in this order."""
    credentials: Credentials = field(repr=False)
    certificates: Path | None = None
    """The path of a certificate bundle to trust instead of the system's certificates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Index:
    url: str = field(repr=False)
    """The URL as configured, which may contain credentials: `split_userinfo` removes them."""
    place: str
    """Where the index is configured, for errors."""
    directory: Path | None = None
    """The directory that a relative path is based on; by default the project's."""
    name: str | None = None
    default: bool = False
    flat: bool = False
    explicit: bool = False
    """Whether uv uses the index only for packages assigned to it. lamina omits it, because the lock records these packages."""


def read_settings(
    project: Path,
    *,
    index_url: str | None = None,
    extra_index_urls: Sequence[str] = (),
    find_links: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> IndexSettings:
    """
    Return the index settings for the directory *project*.

    *index_url* replaces the configured default index. *extra_index_urls* and *find_links* are used in addition to the
    configured ones. *environment* defaults to ``os.environ``. Raises `ConfigError` if a configuration file is unreadable or invalid,
    or if a URL is invalid.
    """
    environment = os.environ if environment is None else environment
    pip = read_pip(environment)
    arguments = [_Index(url=url, place="`--find-links`", flat=True) for url in find_links]
    arguments += [_Index(url=url, place="`--extra-index-url`") for url in extra_index_urls]
    if index_url:
        arguments.append(_Index(url=index_url, place="`--index-url`", default=True))
    declared = [*arguments, *_from_uv_environment(environment)]
    # `PIP_*` variables rank above uv's files, pip's own files rank below them.
    pip_above = {key: value for key, value in pip.items() if environment.get(_variable(key))}
    declared += _from_pip(pip_above, environment)
    if not environment.get("UV_NO_CONFIG"):
        declared += _from_uv_files(project, environment)
    declared += _from_pip({key: value for key, value in pip.items() if key not in pip_above}, environment)
    online = not any(_true(value) for value in (environment.get("UV_NO_INDEX"), pip.get("no-index")))
    # First, because invalid URLs must not be used in any way.
    absolute = [_absolute(index, project) for index in declared]
    clean = [split_userinfo(url)[0] for url in absolute]
    named = {
        url: _variables_of(index.name) for index, url in zip(declared, clean, strict=True) if index.name is not None
    }
    credentials = Credentials(_named_logins(declared, clean, environment), environment=environment, variables=named)
    bases = [credentials.learn(url, index=True) for url in absolute]
    return IndexSettings(
        sources=tuple(_sources(declared, bases, online=online)),
        credentials=credentials,
        certificates=_certificates(environment, pip),
    )


def _sources(declared: Iterable[_Index], urls: Iterable[str], *, online: bool) -> Iterator[IndexSource]:
    """
    Yield flat sources first, because they are cheap to query, then additional indexes, then the default index.

    If *online* is false, yield only flat sources. Explicit indexes are always omitted.
    """
    flat: list[IndexSource] = []
    further: list[IndexSource] = []
    default: list[IndexSource] = []
    for index, url in zip(declared, urls, strict=True):
        source = IndexSource(url=url, flat=index.flat)
        if not index.explicit:
            (flat if index.flat else default if index.default else further).append(source)
    seen = set()
    for source in (*flat, *((*further, *default[:1]) if online else ())):
        if source.url.rstrip("/") not in seen:
            seen.add(source.url.rstrip("/"))
            yield source
    if online and not default:
        yield IndexSource(url=default_index())


def _from_uv_environment(environment: Mapping[str, str]) -> Iterator[_Index]:
    for url in re.split(r"[,\s]+", environment.get("UV_FIND_LINKS", "")):
        if url:
            yield _Index(url=url, place="`UV_FIND_LINKS`", flat=True)
    for variable in ("UV_INDEX", "UV_EXTRA_INDEX_URL"):
        for value in environment.get(variable, "").split():
            yield _named(value, variable)
    for variable in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if value := environment.get(variable, "").strip():
            yield _named(value, variable, default=True)


def _named(value: str, variable: str, *, default: bool = False) -> _Index:
    """Parse an index in the form ``name=url`` or ``url``."""
    matched = re.fullmatch(r"([\w.-]+)=(.+)", value)
    name, url = matched.groups() if matched else (None, value)
    return _Index(url=url, place=f"`{variable}`", name=name, default=default)


def _from_pip(values: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[_Index]:
    def place(key: str) -> str:
        return f"`{_variable(key)}`" if environment.get(_variable(key)) else f"`{key}` in pip's configuration file"

    for url in values.get("find-links", "").split():
        yield _Index(url=url, place=place("find-links"), flat=True)
    for url in values.get("extra-index-url", "").split():
        yield _Index(url=url, place=place("extra-index-url"))
    if url := values.get("index-url", "").strip():
        yield _Index(url=url, place=place("index-url"), default=True)


def _from_uv_files(project: Path, environment: Mapping[str, str]) -> Iterator[_Index]:
    """
    Yield the indexes from uv's configuration: the nearest at or above *project*, the user's, then the system's.

    If ``UV_CONFIG_FILE`` is set, only that file is read.
    """
    if explicit := environment.get("UV_CONFIG_FILE"):
        yield from _from_uv_table(_toml(Path(explicit)), Path(explicit))
        return
    project = project.absolute()
    for directory in (project, *project.parents):
        if (path := directory / "uv.toml").is_file():
            yield from _from_uv_table(_toml(path), path)
            break
        if (path := directory / "pyproject.toml").is_file():
            document = _toml(path)
            if isinstance(tool := document.get("tool"), dict) and "uv" in tool:
                yield from _from_uv_table(document, path, "tool", "uv")
                break
    home = Path(environment.get("HOME") or Path.home())
    user = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    for path in (user / "uv" / "uv.toml", Path("/etc/uv/uv.toml")):
        if path.is_file():
            yield from _from_uv_table(_toml(path), path)


def _toml(path: Path) -> dict[str, Any]:
    try:
        text = decoded(read_file(path))
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from None
    # A text search is faster than parsing, and most project files have no uv settings.
    if path.name == "pyproject.toml" and "uv" not in text:
        return {}
    try:
        return parse(text)
    except ValueError:
        # The parser's message is left out: it may quote part of a URL with a password.
        raise ConfigError(f"`{path}` is not valid TOML") from None


def _from_uv_table(document: dict[str, Any], file: Path, *keys: str) -> list[_Index]:
    """
    Return the indexes in uv's settings: those in the table *keys* of *document*, the content of *file*.

    Raises `ConfigError` that names the first value with a wrong type.
    """
    try:
        table = LockTable(document)
        for key in keys:
            table = table.get_table(key)
        return list(_declared(table, file))
    except LayoutError as error:
        raise ConfigError(
            f"`{file}` has an invalid setting of uv: {error}", hint="correct the setting, or set `UV_NO_CONFIG=1`"
        ) from None


def _declared(table: LockTable, file: Path) -> Iterator[_Index]:
    place, directory = f"`{file}`", file.parent
    for row in table.get_tables("index"):
        yield _Index(
            url=row.get_required("url", str),
            place=place,
            directory=directory,
            name=row.get("name", str),
            default=row.get("default", bool) or False,
            flat=row.get("format", str) == "flat",
            explicit=row.get("explicit", bool) or False,
        )
    for scope in (table, table.get_table("pip")):
        for url in scope.get_strings("find-links"):
            yield _Index(url=url, place=place, directory=directory, flat=True)
        for url in scope.get_strings("extra-index-url"):
            yield _Index(url=url, place=place, directory=directory)
        if (default := scope.get("index-url", str)) is not None:
            yield _Index(url=default, place=place, directory=directory, default=True)


def read_pip(environment: Mapping[str, str]) -> dict[str, str]:
    """
    Return pip's effective index settings, such as ``index-url``, without running pip.

    Environment variables override configuration files. Raises `ConfigError` if a file is invalid. The files and their order
    are from pip's documentation, "Configuration" (checked 2026-11).
    """
    values: dict[str, str] = {}
    for path in _pip_files(environment):
        values |= _read_pip_file(path)
    for key in _PIP_KEYS:
        if value := environment.get(_variable(key)):
            values[key] = value
    return values


def _pip_files(environment: Mapping[str, str]) -> Iterator[Path]:
    """Yield the paths where pip looks for configuration files, the lowest precedence first."""
    explicit = environment.get("PIP_CONFIG_FILE")
    if explicit == os.devnull:
        return
    yield from _pip_global_files(environment)
    if not (explicit and Path(explicit).exists()):
        yield from _pip_user_files(environment)
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    yield Path(environment.get("VIRTUAL_ENV") or sys.prefix, name)
    if explicit:
        yield Path(explicit)


def _pip_global_files(environment: Mapping[str, str]) -> Iterator[Path]:
    if sys.platform == "win32":
        yield Path(environment.get("ProgramData", "C:\\ProgramData"), "pip", "pip.ini")
        return
    if sys.platform == "darwin":
        yield Path("/Library/Application Support/pip/pip.conf")
    for base in reversed((environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)):
        yield Path(base, "pip", "pip.conf")
    yield Path("/etc/pip.conf")


def _pip_user_files(environment: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environment.get("HOME") or Path.home())
    if sys.platform == "win32":
        yield home / "pip" / "pip.ini"
        yield Path(environment.get("APPDATA") or home / "AppData" / "Roaming", "pip", "pip.ini")
        return
    yield home / ".pip" / "pip.conf"
    support = home / "Library" / "Application Support" / "pip"
    if sys.platform == "darwin" and support.is_dir():
        yield support / "pip.conf"
    else:
        yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config", "pip", "pip.conf")


def _read_pip_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    import configparser  # rarely needed, because most of the files do not exist

    parser = configparser.RawConfigParser()
    try:
        parser.read_string(decoded(path.read_bytes()))
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from None
    except configparser.Error as error:
        # The parser's message is left out: it quotes the line, which may contain a password.
        where = f": error in line {line}" if (line := getattr(error, "lineno", None)) else ""
        raise ConfigError(f"`{path}` is not a valid pip configuration file{where}") from None
    found: dict[str, str] = {}
    for section in _PIP_SECTIONS:
        if parser.has_section(section):
            for key, value in parser.items(section):
                spelled = key.removeprefix("--").replace("_", "-")
                if spelled in _PIP_KEYS:
                    found[spelled] = value
    return found


def _named_logins(declared: Iterable[_Index], urls: Iterable[str], environment: Mapping[str, str]) -> Iterator[Login]:
    for index, url in zip(declared, urls, strict=True):
        if index.name is None:
            continue
        variable = _variables_of(index.name)
        user, password = environment.get(f"{variable}_USERNAME"), environment.get(f"{variable}_PASSWORD")
        if user or password:
            yield Login(url=url, user=user or "", password=password)


def _variables_of(name: str) -> str:
    """Return the start of the names of the variables with the credentials for the index *name*."""
    return "UV_INDEX_" + re.sub(r"[^A-Z0-9]", "_", name.upper())


def _absolute(index: _Index, project: Path) -> str:
    """
    Return the URL of *index*, or a ``file://`` URL if it is a path, which may start with ``~``.

    Raises `ConfigError` with the place of an invalid URL, which may be a password, or of an unknown user's home directory.
    """
    url = index.url
    # The scheme needs two letters: a single letter is a Windows drive.
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", url) and not url.startswith("file:"):
        try:
            path = Path(url).expanduser()
        except RuntimeError:
            raise ConfigError(
                f"{index.place} has a path of an index in the home directory of an unknown user",
                hint="write the path without `~`",
            ) from None
        url = ((index.directory or project).absolute() / path).as_uri()
    try:
        split_userinfo(url)
    except InvalidUrlError:
        raise ConfigError(f"{index.place} has an invalid URL of an index", hint=ENCODING_HINT) from None
    return url


def _certificates(environment: Mapping[str, str], pip: Mapping[str, str]) -> Path | None:
    """Return the first configured certificate bundle, or ``None``. ``SSL_CERT_DIR`` is omitted, because OpenSSL reads it."""
    candidates = (environment.get("SSL_CERT_FILE"), pip.get("cert"), environment.get("REQUESTS_CA_BUNDLE"))
    return next((Path(value) for value in candidates if value), None)


def _variable(key: str) -> str:
    return "PIP_" + key.upper().replace("-", "_")


def _true(value: str | None) -> bool:
    return (value or "").strip().lower() in {"1", "true", "yes", "on", "y", "t"}
