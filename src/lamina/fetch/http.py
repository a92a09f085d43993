"""
Send HTTP requests with certificates, proxies, redirects, credentials and retries. No other module uses urllib3 directly.

lamina uses urllib3 because importing it needs a third of the time of importing a client with HTTP/2. With a nearby index, the
import alone needs as long as all downloads. HTTP/2 would not be faster, because sixteen connections use the full bandwidth.
"""

from __future__ import annotations

import os
import ssl
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urljoin

import urllib3
import urllib3.connection
from urllib3.exceptions import (
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
    TimeoutError,  # noqa: A004  # urllib3's own name
)

from lamina.core.errors import AccessDeniedError, ConfigError, DownloadError
from lamina.core.faults import exhausted
from lamina.core.files import open_regular
from lamina.core.urls import redacted, split_userinfo
from lamina.fetch.credentials import Login
from lamina.fetch.responses import BoundedResponse
from lamina.fetch.urls import invalid_place, is_remote, origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from urllib3 import BaseHTTPResponse, PoolManager, Retry

    from lamina.core.values import Pin
    from lamina.fetch.credentials import Credentials

_REDIRECTS = 10
_REDIRECT_SECONDS = 120.0
"""The time for all redirects of one request: each response has its own time limits, but a server can redirect several times."""
_MOST_UNREAD_BYTES = 4_096
"""The size of a useless body that lamina reads, because a new TLS connection needs more time."""
CONNECTIONS = 16
"""The maximum number of simultaneous connections to one host."""
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_DENIED = frozenset({401, 403})
_LONGEST_NUMBER = 20
_USER_AGENT = "lamina"

_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (ProxyError, "the connection through the proxy failed"),
    (SSLError, "the TLS connection failed"),
    (NameResolutionError, "the host name could not be resolved"),
    (NewConnectionError, "could not connect to the server"),
    (TimeoutError, "the server did not respond in time"),
    (BaseException, "the connection was interrupted"),
)

BrokenTransferError = (HTTPError, OSError)
"""The exceptions of a request, or of reading its response, after which another attempt may succeed."""


class Attempts:
    """A limited number of attempts at one transfer, with increasing pauses between them."""

    def __init__(self, url: str, retry: Retry) -> None:
        self._url = url
        self._retry = retry

    def pause(self, cause: BaseHTTPResponse | BaseException) -> float:
        """
        Return the seconds to wait before the next attempt, after *cause* made the last one fail.

        The pause is at most 60 seconds if the response has a ``Retry-After`` header. Otherwise, it increases with each attempt,
        up to 20 seconds. Raises `DownloadError` if no attempt is left, or if the server's certificate is not trusted.
        """
        response = cause if isinstance(cause, urllib3.BaseHTTPResponse) else None
        if isinstance(cause, SSLError) and any(isinstance(part, ssl.SSLCertVerificationError) for part in cause.args):
            raise DownloadError(
                f"could not download `{redacted(self._url)}`: the server's certificate is not trusted",
                hint="set `SSL_CERT_FILE` to a certificate bundle that includes the server's certificate authority",
            ) from None
        try:
            if response is not None:
                self._retry = self._retry.increment("GET", redacted(self._url), response=response)
            else:
                # Every error counts the same: a download resumes regardless of how the connection failed.
                reason = HTTPError(type(cause).__name__)
                self._retry = self._retry.increment("GET", redacted(self._url), error=reason)
        except HTTPError:
            raise DownloadError(f"could not download `{redacted(self._url)}`: {_reason(cause)}") from None
        try:
            told = self._retry.get_retry_after(response) if response is not None else None
        except (HTTPError, ValueError, OverflowError):
            # A header that is not valid is as good as none.
            told = None
        return self._retry.get_backoff_time() if told is None else told


class IndexAccess(Protocol):
    """The means to request files of one project: an HTTP client, and the credentials that it uses."""

    @property
    def client(self) -> Client:
        """The HTTP client."""

    @property
    def credentials(self) -> Credentials:
        """The credentials for the hosts of the files."""

    def elsewhere(self, pin: Pin) -> Iterator[str]:
        """Yield other URLs of the file of *pin*, which may serve the locked bytes."""


class _Connection(urllib3.connection.HTTPConnection):
    """A connection with bounded responses."""

    response_class = BoundedResponse


class _TlsConnection(urllib3.connection.HTTPSConnection):
    """A connection with bounded responses over TLS."""

    response_class = BoundedResponse


class _ConnectionPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsConnectionPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _PoolManager(urllib3.PoolManager):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.pool_classes_by_scheme = _POOLS


class _ProxyManager(urllib3.ProxyManager):
    def __init__(self, url: str, **options: Any) -> None:
        if not origin(url)[1]:
            raise ValueError("the URL of the proxy has no host")
        super().__init__(url, **options)
        self.pool_classes_by_scheme = _POOLS


_POOLS = {"http": _ConnectionPool, "https": _TlsConnectionPool}


def request_url(pin: Pin, index: IndexAccess) -> str:
    """
    Return the URL of *pin* without credentials, which *index* learns.

    Raises `DownloadError` if *pin* has no URL, and `FetchError` if the URL is invalid.
    """
    if pin.url is None:
        raise DownloadError(
            f"`{pin.filename}` has no URL or path in the lock",
            hint="regenerate the lock with a tool that writes the URL of each file, such as uv",
        )
    try:
        url = index.credentials.learn(pin.url)
        if origin(url)[1] and is_remote(url):
            return url
    except ValueError:
        pass
    raise invalid_place(pin)


class Client:
    """
    An HTTP client with a pool of connections to each host; several threads can share it.

    *certificates* is a certificate bundle to use instead of the system's. *timeout* is in seconds, for connecting and for
    each read. *backoff*, in seconds, scales the pauses between attempts.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        certificates: Path | None = None,
        timeout: float = 30.0,
        backoff: float = 0.2,
    ) -> None:
        self._credentials = credentials
        self._certificates = certificates
        self._timeout = urllib3.Timeout(connect=timeout, read=timeout)
        self._retry = urllib3.Retry(
            total=5, status_forcelist=_RETRIED, backoff_factor=backoff, backoff_max=20, retry_after_max=60
        )
        self._pools: dict[tuple[str, str | None], PoolManager] = {}
        self._proxies = _proxies()
        self._guard = threading.Lock()
        self._tls: ssl.SSLContext | None = None

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.clear()

    def attempts(self, url: str) -> Attempts:
        """Return an `Attempts` with all attempts left for a download of *url*."""
        return Attempts(url, self._retry)

    @staticmethod
    def worth_another(response: BaseHTTPResponse) -> bool:
        """Return whether the status of *response* is temporary, so that a later request may succeed."""
        return response.status in _RETRIED

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Iterator[tuple[BaseHTTPResponse, str]]:
        """
        Send a GET request, follow redirects, and yield the final response and its URL; the body is unread and not decoded.

        Each host receives only its own credentials. After HTTP 401 or 403, the request is sent once more with a login from
        keyring, if there is one. Raises `AccessDeniedError` if access is still denied, `DownloadError` if a redirect is
        invalid, redirects take too long, or the certificates cannot be loaded, `ConfigError` if the proxy is invalid, and one of `BrokenTransferError` if the transfer fails.
        """
        secure = False
        asked = False
        waited = 0.0
        login: Login | None = None
        for _ in range(_REDIRECTS + 1):
            # After an HTTPS request, a redirect to HTTP must not carry credentials.
            secure = secure or origin(url)[0] == "https"
            login = None
            if not secure or origin(url)[0] == "https":
                login = self._credentials.asked(url) if asked else self._credentials.known(url)
            began = time.monotonic()
            response = self._request(url, headers or {}, login)
            if response.status in _DENIED and not asked and self._credentials.asked(url) is not None:
                asked = True
                _leave(response)
                continue
            location = response.get_redirect_location()
            if not location:
                break
            _leave(response)
            waited += time.monotonic() - began
            asked = False
            url = _redirected(url, location)
            if waited > _REDIRECT_SECONDS:
                raise DownloadError(
                    f"the server redirects for more than {_REDIRECT_SECONDS:.0f} seconds, last to `{redacted(url)}`"
                )
            if not is_remote(url):
                raise DownloadError(
                    f"the server redirects to `{redacted(url)}`, but lamina supports only HTTP and HTTPS"
                )
        else:
            raise DownloadError(f"the server redirects more than {_REDIRECTS} times, last to `{redacted(url)}`")
        try:
            if response.status in _DENIED:
                raise self._denied(url, response.status, is_sent=login is not None)
            yield response, url
        finally:
            _close(response)

    @contextmanager
    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Iterator[BaseHTTPResponse]:
        """
        Send *body* with a POST request, and yield the response; its body is unread and not decoded.

        Redirects are not followed, so that no other host receives *body*. Raises `AccessDeniedError` if access is denied, `ConfigError`
        if the proxy is invalid, and one of `BrokenTransferError` if the transfer fails.
        """
        login = self._credentials.known(url)
        response = self._send("POST", url, headers, login, body=body)
        try:
            if response.status in _DENIED:
                raise self._denied(url, response.status, is_sent=login is not None)
            yield response
        finally:
            _close(response)

    def _request(self, url: str, headers: Mapping[str, str], login: Login | None) -> BaseHTTPResponse:
        return self._send("GET", url, headers, login)

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], login: Login | None, *, body: bytes | None = None
    ) -> BaseHTTPResponse:
        sent = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **headers}
        if login is not None:
            sent["Authorization"] = login.header
        return self._pool(url).request(
            method,
            url,
            body=body,
            headers=sent,
            redirect=False,
            retries=False,
            preload_content=False,
            timeout=self._timeout,
        )

    def _pool(self, url: str) -> PoolManager:
        scheme, host, port = origin(url)
        proxy = None
        if self._proxies:
            from urllib.request import proxy_bypass  # loaded by now

            if not proxy_bypass(f"{host}:{port}"):
                proxy = self._proxies.get(scheme) or self._proxies.get("all")
        with self._guard:
            if (scheme, proxy) not in self._pools:
                self._pools[scheme, proxy] = self._make_pool(scheme, proxy)
            return self._pools[scheme, proxy]

    def _make_pool(self, scheme: str, proxy: str | None) -> PoolManager:
        # Loading all certificate authorities needs as long as a few downloads, so it is done for HTTPS only.
        secure = "https" in {scheme, (proxy or "").partition(":")[0]}
        tls = self._trust() if secure else None
        if proxy is None:
            return _PoolManager(maxsize=CONNECTIONS, ssl_context=tls)
        try:
            clean, user, password = split_userinfo(proxy if "://" in proxy else f"http://{proxy}")
            login = Login(url=clean, user=user, password=password) if user else None
            return _ProxyManager(
                clean,
                maxsize=CONNECTIONS,
                ssl_context=tls,
                proxy_ssl_context=tls,
                proxy_headers={"Proxy-Authorization": login.header} if login else None,
            )
        except ValueError:
            # The error's message may quote a part of the password.
            raise ConfigError(
                f"the proxy for {scheme} is not a valid `http://` or `https://` URL",
                hint=f"check the environment variables `{scheme.upper()}_PROXY` and `ALL_PROXY`, in either case: percent-encode "
                "special characters of the user name and password",
            ) from None

    def _trust(self) -> ssl.SSLContext:
        """Return a TLS context that trusts the configured certificate bundle, else the system's certificates, else certifi's."""
        if self._tls is None:
            bundle = str(self._certificates) if self._certificates is not None else None
            paths = ssl.get_default_verify_paths()
            if (
                bundle is None
                and paths.cafile is None
                and paths.capath is None
                and not hasattr(ssl, "enum_certificates")
            ):
                import certifi  # needed only if the system has no certificate authorities

                bundle = certifi.where()
            try:
                if bundle is not None:
                    open_regular(bundle).close()  # OpenSSL would wait for a pipe
                self._tls = ssl.create_default_context(cafile=bundle)
            except OSError as error:
                shown = f"the certificate bundle `{bundle}`" if bundle else "the system's certificates"
                raise exhausted(error) or DownloadError(f"cannot load {shown}: {error.strerror or error}") from error
        return self._tls

    def _denied(self, url: str, status: int, *, is_sent: bool) -> AccessDeniedError:
        reason = (
            "the server rejected the credentials that lamina sent" if is_sent else "lamina found no credentials for it"
        )
        return AccessDeniedError(
            f"access to `{redacted(url)}` was denied (HTTP {status}): {reason}",
            hint=f"{'correct' if is_sent else 'set'} your credentials: lamina searches {self._credentials.looked(url)}",
        )


def _leave(response: BaseHTTPResponse) -> None:
    """Finish *response* without its body. The connection is used again only if the body is known to be short: it may be endless."""
    remaining = response.length_remaining
    if remaining is not None and remaining <= _MOST_UNREAD_BYTES:
        response.drain_conn()
    else:
        _close(response)


def _close(response: BaseHTTPResponse) -> None:
    # The unread part of a body would be read as the next response on this connection.
    if not response.closed:
        response.close()
    response.release_conn()


def _redirected(url: str, location: str) -> str:
    """Return the URL of *location*, to which the server redirects *url*. Raises `DownloadError` if it is invalid."""
    try:
        target = split_userinfo(urljoin(url, location))[0]
        origin(target)
    except ValueError:
        raise DownloadError(f"could not download `{redacted(url)}`: the server redirects to an invalid URL") from None
    return target


def _proxies() -> dict[str, str]:
    """Return the proxy URL for each scheme, from environment variables or the system's settings."""
    if sys.platform not in {"win32", "darwin"} and not any(name.lower().endswith("_proxy") for name in os.environ):
        return {}
    from urllib.request import getproxies  # slow to import, and rarely needed

    return getproxies()


def _reason(cause: BaseHTTPResponse | BaseException) -> str:
    """Describe *cause* without quoting its message, which may contain a URL with a token."""
    if isinstance(cause, urllib3.BaseHTTPResponse):
        return f"the server returned HTTP {cause.status}"
    return next(text for kind, text in _REASONS if isinstance(cause, kind))


def extent(response: BaseHTTPResponse) -> tuple[int, int | None]:
    """
    Return the offset in bytes at which the body of *response* starts in the file, and the size of the whole file in bytes.

    The size is ``None`` if the response does not state it.
    """
    if response.status == 206:
        # RFC 9110, section 14.4: bytes FIRST-LAST/TOTAL, and * for an unknown total.
        span, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        return _number(span.partition("-")[0]) or 0, _number(total)
    return 0, _number(response.headers.get("Content-Length", ""))


def _number(text: str) -> int | None:
    """Return the number of bytes *text*, or ``None`` if it is not one that a file can have."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < _LONGEST_NUMBER else None
