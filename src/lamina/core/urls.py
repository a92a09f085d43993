"""
Separate what may be shown and stored of a URL from the secrets in it: user name, password, query and fragment.

A password may contain any character. Where it contains one that ends the host, such as ``/``, the URL is invalid or means another
server; nothing before its last ``@`` is shown then. Other modules split, show and store URLs with these functions only.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit, urlunsplit

_AUTHORITY = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#\\]*)(?P<rest>.*)", re.DOTALL)
# A host and directories up to the name of a scope, as in `https://host/simple/@scope/`; no token looks like them.
_BEFORE_SCOPE = r"[a-z0-9-]+(?:[./][a-z0-9_~-]+)+/"
USERINFO = re.compile(rf"(?<=[:/]/)(?!/)(?!{_BEFORE_SCOPE}@)(?:[^\s:@/]*[:\s][^\n]*@(?=\S)|\S*@)")
"""
The user name and the password of a URL in the text of another program, with the ``@``.

A password with spaces is recognised only after a user name and a colon: the ``@`` in a sentence after a URL belongs to something else.
"""
_QUERY_IN_TEXT = re.compile(r"(:/+[^\s?#'\"`]*)[?#][^\s'\"`]*")
# Bounded, because a text may be a response of megabytes.
_USERINFO_IN_TEXT = re.compile(r"[^\s/'\"`:]{1,200}:[^\s'\"`]{0,1000}@")
# A URL with one slash, or without a scheme, is a path.
_PATH_USERINFO = re.compile(r"[^/]{0,200}:.*@", re.DOTALL)
_NO_HOST = re.compile(r"[\s\x00-\x20\x7f<>\"`{}|^%]")
# Only SSH keeps the user name. A parameter after `;` can be a token.
_PUBLIC = re.compile(r"(https?|git|ssh)://((?:(?<=ssh://)[^\s@;/]+@)?[^\s@;/]+(?:/[^\s@;]*)?)", re.IGNORECASE)
ENCODING_HINT = "percent-encode special characters of the user name and password: `/` is `%2F`, `#` is `%23`, `?` is `%3F`, `@` is `%40`"
"""How to correct a URL whose password contains a character that ends the host."""


class InvalidUrlError(ValueError):
    """Raised for a URL that has no valid host or port. The message contains nothing of the URL, which may be a password."""


def split_userinfo(url: str) -> tuple[str, str | None, str | None]:
    """
    Split *url* into the URL without userinfo, the user name, and the password.

    The user name and the password are ``None`` if absent. Raises `InvalidUrlError`.
    """
    found = _AUTHORITY.fullmatch(url)
    if found is None:
        _check(url)
        return url, None, None
    userinfo, at, host = found["authority"].rpartition("@")
    _check(f"{found['scheme']}://{host}")
    if not at:
        return url, None, None
    user, _, password = userinfo.partition(":")
    return f"{found['scheme']}://{host}{found['rest']}", unquote(user) or None, unquote(password) or None


def checked(url: str) -> str:
    """Return *url* unchanged. Raises `InvalidUrlError`."""
    split_userinfo(url)
    return url


def without_credentials(url: str) -> str:
    """
    Return *url* without user name and password. Raises `InvalidUrlError`.

    The user name in an ``ssh`` URL is kept, because it is part of the address.
    """
    if "@" not in url:
        # A lock has a thousand URLs; those that are used are checked later.
        return url
    clean, user, _ = split_userinfo(url)
    if user is None or not urlsplit(clean).scheme.endswith("ssh"):
        return clean
    scheme, _, rest = clean.partition("://")
    return f"{scheme}://{quote(user, safe='')}@{rest}"


def with_credentials(url: str, user: str, password: str) -> str:
    """Return *url* with *user* and *password*, for a request to an index. Do not show or store the result. Raises `InvalidUrlError`."""
    parts = urlsplit(split_userinfo(url)[0])
    userinfo = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{userinfo}@{parts.netloc}"))


def redacted(url: str) -> str:
    """
    Return *url* without userinfo, query and fragment, which may contain secrets, for use in messages.

    If an ``@`` follows the host, everything before it may be a password with a slash, so that it is replaced by an ellipsis, unless it is the
    ``@`` of a scope.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return without_query(_PATH_USERINFO.sub("…@", url))
    before, at, after = rest.rpartition("@")
    if re.fullmatch(_BEFORE_SCOPE, before):
        return f"{scheme}://{without_query(rest)}"
    hidden = "…@" if at and re.search(r"[/?#\\]", before) else ""
    return f"{scheme}://{hidden}{without_query(after)}"


def without_query(url: str) -> str:
    """Return *url*, which has no password, without query and fragment; the user name of an ``ssh`` URL is kept."""
    return re.split(r"[?#]", url, maxsplit=1)[0]


def public_url(url: str) -> str | None:
    """
    Return the address in *url* for a document that others read: without password, query and fragment, with its scheme in lower case.

    Return ``None`` if *url* is not an address of a server, such as a path of this machine or an invalid URL, or if its path could contain
    a secret or another line.
    """
    try:
        clean = without_query(without_credentials(url))
    except InvalidUrlError:
        return None
    found = _PUBLIC.fullmatch(clean)
    return f"{found[1].lower()}://{found[2]}" if found is not None and clean.isprintable() else None


def may_be_stored(url: str) -> bool:
    """Return whether *url* has neither userinfo nor a query: both may be secret, and a signature in a query expires."""
    return "?" not in url and "@" not in url


def without_userinfo(text: str) -> str:
    """Return *text*, which another program wrote or a user configured, without the user names and passwords of URLs in it."""
    return USERINFO.sub("", text)


def shown_path(path: object) -> str:
    """
    Return *path* for a message. In a lock, it may be a mistyped URL, such as ``https:/user:password@host/file``.

    What precedes an ``@`` after a colon is left out, and what follows a question mark, as in a query.
    """
    return _PATH_USERINFO.sub("…@", str(path)).partition("?")[0]


def without_url_secrets(text: str) -> str:
    """Return *text* without the user names, passwords, queries and fragments of URLs in it, such as a traceback that quotes requests."""
    return _USERINFO_IN_TEXT.sub("…@", _QUERY_IN_TEXT.sub(r"\1?…", without_userinfo(text)))


def _check(url: str) -> None:
    """Raise `InvalidUrlError` unless *url*, which has no userinfo, has a valid host and port."""
    try:
        parts = urlsplit(url)
        # An invalid port raises an error only when it is read.
        _ = parts.port
        host = parts.hostname or ""
    except ValueError:
        # The error's message quotes the host, which may be a part of a password.
        raise InvalidUrlError("the URL is invalid") from None
    if _NO_HOST.search(host) or (not host and parts.scheme in {"http", "https"}):
        raise InvalidUrlError("the URL is invalid")
