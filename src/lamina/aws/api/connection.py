"""Read and check the settings of connections to AWS: certificates, endpoints and proxies. All requests use the same ones."""

from __future__ import annotations

import os
import re
import ssl
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lamina.core.errors import ConfigError
from lamina.core.faults import exhausted
from lamina.core.files import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT_SECONDS = 10
READ_SECONDS = 60
_ENDPOINT = "AWS_ENDPOINT_URL"
_UNPRINTABLE = re.compile(r"[^!-~]")


def certificates(session: Any) -> str | bool:
    """
    Return the file or directory of the certificates that the botocore *session* trusts, or ``True`` for botocore's own.

    botocore's clients and a request without a client get the same value. Raises `ConfigError` if it is not readable.
    """
    configured: str | None = session.get_config_variable("ca_bundle")
    # Like botocore's clients. A blank value must not switch the verification off.
    path = (configured or os.environ.get("REQUESTS_CA_BUNDLE") or "").strip()
    return _readable(path) if path else True


@cache
def _readable(path: str) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if Path(path).is_dir():
            context.load_verify_locations(capath=path)
        else:
            open_regular(path).close()  # OpenSSL would wait for a pipe
            context.load_verify_locations(cafile=path)
    except OSError as error:
        # `ssl.SSLError` is an OSError, too.
        reason = "it contains no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise exhausted(error) or ConfigError(
            f"failed to load the certificates of `{path}`: {reason}",
            hint="set `AWS_CA_BUNDLE`, or `ca_bundle` in the AWS profile, to a file of certificates in PEM format, or unset it",
        ) from error
    return path


def check_endpoint(session: Any, endpoint: str | None) -> None:
    """
    Check that a client of the botocore *session* can connect to *endpoint*, the URL of a client or ``None`` if creating one failed.

    Raises `ConfigError` that names the setting with an invalid endpoint or proxy. The message has no value, which may contain a password.
    """
    from botocore.utils import get_environ_proxies

    if endpoint is None or not _is_url(endpoint):
        for name, value in _endpoints(session):
            if not _is_url(value):
                raise ConfigError(f"{name} is not a valid URL", hint="set it to a URL such as `http://127.0.0.1:4566`")
        return
    for scheme, proxy in get_environ_proxies(endpoint).items():
        # The scheme of a proxy may be missing.
        if not _is_url(proxy if "://" in proxy else f"http://{proxy}"):
            raise ConfigError(
                f"`{scheme.upper()}_PROXY` is not a valid URL", hint="set it to a URL such as `http://127.0.0.1:3128`"
            )


def _endpoints(session: Any) -> Iterator[tuple[str, str]]:
    """Yield the settings with endpoints, as they are called in messages, and their values."""
    for name, value in os.environ.items():
        if name.startswith(_ENDPOINT) and value:
            yield f"`{name}`", value
    profile = session.get_scoped_config()
    services = session.full_config.get("services", {}).get(profile.get("services"), {})
    for each in (profile, *(each for each in services.values() if isinstance(each, dict))):
        if "endpoint_url" in each:
            yield "`endpoint_url` in the AWS profile", each["endpoint_url"]


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and _UNPRINTABLE.search(value) is None
