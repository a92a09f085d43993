"""
Find the user name and password for a URL.

lamina searches the userinfo of URLs and the variables ``UV_INDEX_<NAME>_USERNAME`` and ``UV_INDEX_<NAME>_PASSWORD``, then
netrc, then keyring. Credentials from netrc are sent only to their host, all others only to the scheme, host and port that they
are configured for. Credentials are never stored or shown.
"""

from __future__ import annotations

import base64
import os
import threading
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lamina.core.errors import ConfigError
from lamina.core.faults import exhausted
from lamina.core.text import undecodable
from lamina.core.urls import split_userinfo
from lamina.fetch.urls import Origin, origin

if TYPE_CHECKING:
    import netrc
    from collections.abc import Iterable, Mapping

    from lamina.core.errors import LaminaError


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """A user name and password for `url` and other URLs on its server; the ``repr`` contains neither."""

    url: str
    """The URL of the index or request that the login was found for, without userinfo."""
    user: str = field(repr=False)
    password: str | None = field(repr=False)
    """The password; ``None`` if only the user name is configured."""

    @property
    def header(self) -> str:
        """The value of the ``Authorization`` header (RFC 7617, in UTF-8)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password or ''}".encode()).decode("ascii")


class Credentials:
    """
    The credentials of one run: from URLs, from the *logins* of named indexes, from netrc and from keyring.

    *environment* has the variables ``NETRC`` and ``HOME``; the default is ``os.environ``. *variables* has the start of the names of the
    variables for each named index, by the URL of the index.
    """

    def __init__(
        self,
        logins: Iterable[Login] = (),
        *,
        environment: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._variables = {} if variables is None else variables
        self._in_urls: list[Login] = []
        self._named = tuple(logins)
        self._indexes: list[str] = []
        self._environment = os.environ if environment is None else environment
        self._keyring: dict[Origin, Login | None] = {}
        self._netrc: netrc.netrc | None = None
        self._netrc_read = False
        self._guard = threading.Lock()

    def __repr__(self) -> str:
        """Return the class name only, because the contents are secret."""
        return f"{type(self).__name__}()"

    def learn(self, url: str, *, index: bool = False) -> str:
        """
        Record the user name and password in *url*, and return *url* without them.

        If *index* is true, *url* is the URL of an index, and is one of the services to search in keyring.
        """
        clean, user, password = split_userinfo(url)
        with self._guard:
            if index and clean not in self._indexes:
                self._indexes.append(clean)
            if user is not None or password is not None:
                login = Login(url=clean, user=user or "", password=password)
                if login not in self._in_urls:
                    self._in_urls.append(login)
        return clean

    def known(self, url: str) -> Login | None:
        """
        Return the login to send with the first request to *url*, or ``None``.

        Keyring is not queried, because it may prompt the user. A login that it returned earlier is used.
        """
        login = self._configured(url)
        if login is not None and login.password is not None:
            return login
        return self._from_netrc(url) or self._keyring.get(origin(url))

    def asked(self, url: str) -> Login | None:
        """
        Return the login for *url* from keyring, or ``None``.

        Call this only after the server has denied a request, because keyring may prompt the user.
        """
        place = origin(url)
        with self._guard:
            if place not in self._keyring:
                login = self._configured(url)
                services = [index for index in self._indexes if origin(index) == place]
                self._keyring[place] = _from_keyring(url, services, login.user if login is not None else None)
            return self._keyring[place]

    def looked(self, url: str) -> str:
        """Return the places where lamina searches for the credentials for *url*, formatted for a hint."""
        from lamina.core.installation import install_command  # only for hints

        keyring = "keyring" if _has_keyring() else f"keyring (not installed: run `{install_command('keyring')}`)"
        prefix = self._variables.get(self._nearest(url, self._variables), "UV_INDEX_<NAME>")
        netrc = self._netrc_path()
        missing = "" if netrc.is_file() else " (does not exist)"
        return f"the index URL, `{prefix}_USERNAME` and `{prefix}_PASSWORD`, `{netrc}`{missing}, and {keyring}"

    @staticmethod
    def _nearest(url: str, others: Iterable[str]) -> str:
        """Return the URL of *others* on the server of *url* whose path has the most leading segments in common; empty if there is none."""
        place, path = origin(url), urlsplit(url).path
        here = [other for other in others if origin(other) == place]
        # The index's path need not be a prefix of a file's path, because indexes often serve files elsewhere.
        return max(here, key=lambda other: _common(urlsplit(other).path, path), default="")

    def _configured(self, url: str) -> Login | None:
        """Return the login on the server of *url* whose path has the most leading segments in common with *url*, or ``None``."""
        # Of several logins for one URL, the first counts.
        logins = {login.url: login for login in reversed((*self._in_urls, *self._named))}
        return logins.get(self._nearest(url, reversed(logins)))

    def _from_netrc(self, url: str) -> Login | None:
        with self._guard:
            if not self._netrc_read:
                self._netrc = _read_netrc(self._netrc_path())
                self._netrc_read = True
        # netrc's `default` entry is ignored: it would send the credentials to any host that a redirect leads to.
        entry = self._netrc.hosts.get(urlsplit(url).hostname or "") if self._netrc is not None else None
        if entry is None:
            return None
        user, account, password = entry
        return Login(url=url, user=user or account or "", password=password)

    def _netrc_path(self) -> Path:
        if explicit := self._environment.get("NETRC"):
            return Path(explicit)
        home = Path(self._environment.get("HOME") or Path.home())
        return next((path for path in (home / ".netrc", home / "_netrc") if path.is_file()), home / ".netrc")


def _common(first: str, second: str) -> int:
    pairs = zip(first.split("/"), second.split("/"), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _read_netrc(path: Path) -> netrc.netrc | None:
    if not path.is_file():
        return None
    import netrc  # rarely needed, because most users have no netrc file

    try:
        return netrc.netrc(path)
    except netrc.NetrcParseError as error:
        # The parser's message is left out: it quotes the invalid token, which may be a password.
        raise ConfigError(f"`{path}` is not a valid netrc file: error in line {error.lineno}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError | UnicodeDecodeError) -> LaminaError:
    """Return an error with the reason why *path* cannot be read, but nothing of its content, which may contain passwords."""
    if isinstance(error, UnicodeDecodeError):
        return ConfigError(f"`{path}` {undecodable(error)}")
    return exhausted(error) or ConfigError(f"cannot read `{path}`: {error.strerror}")


def _has_keyring() -> bool:
    from importlib.util import find_spec  # needed only after a denied request

    return find_spec("keyring") is not None


def _from_keyring(url: str, indexes: list[str], user: str | None) -> Login | None:
    if not _has_keyring():
        return None
    import keyring  # optional, slow to import, and may start a desktop service
    from keyring.errors import KeyringError

    parts = urlsplit(url)
    try:
        # pip and uv store credentials under the index's URL or its host.
        for service in (*indexes, f"{parts.scheme}://{parts.netloc}", parts.netloc):
            found = keyring.get_credential(service, user)
            if found is not None and found.password:
                return Login(url=url, user=found.username or user or "", password=found.password)
    except KeyringError:
        return None
    return None
