"""Test what is shown, stored and requested of URLs: never a password, whatever characters it has."""

from __future__ import annotations

import traceback

import pytest

from lamina.aws.api.errors import without_secrets
from lamina.core.urls import (
    InvalidUrlError,
    may_be_stored,
    redacted,
    split_userinfo,
    with_credentials,
    without_credentials,
    without_url_secrets,
    without_userinfo,
)

PASSWORDS = [f"hun{character}ter2" for character in "/#?@%[]: \\\"'<>é\u202e"]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("scheme", ["http", "https", "git+https", "ssh"])
def test_no_part_of_a_password_is_shown(password: str, scheme: str) -> None:
    """A URL is split into a clean URL and a login, or is invalid; neither a message nor a traceback has a part of the password."""
    url = f"{scheme}://usr:{password}@index.example:8080/simple?token=ter2#ter2"
    shown = redacted(url)
    try:
        clean = split_userinfo(url)[0]
    except InvalidUrlError as error:
        shown += "".join(traceback.format_exception(error)).replace(f"url = {url!r}", "")
    else:
        assert f"{scheme}://index.example:8080/simple?token=ter2#ter2" == clean
        assert password == split_userinfo(url)[2]
    assert ("index.example:8080/simple" in shown, False, False) == (True, "hun" in shown, "ter2" in shown)


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_quoted_password_is_sent(password: str) -> None:
    """A login from a lock tool's own settings is encoded and decoded to the same characters."""
    url = with_credentials("https://old:login@index.example/simple", "us/er", password)

    assert ("https://index.example/simple", "us/er", password) == split_userinfo(url)


@pytest.mark.parametrize("character", "/?#\\")
def test_a_password_that_is_taken_for_a_port_is_not_shown(character: str) -> None:
    """A password that starts with digits makes the user name a host: the URL is valid, but nothing before the last @ is shown."""
    url = f"http://usr:123{character}hunter2@index.example/simple"
    shown = redacted(url)

    assert "http://…@index.example/simple" == shown
    assert not may_be_stored(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://token/@host/simple", "http://…@host/simple"),
        ("https://host/feed/simple", "https://host/feed/simple"),
        ("https://user@host/simple", "https://host/simple"),
        ("https://h/simple/@scope/pkg?key=1", "https://h/simple/@scope/pkg"),
        ("https://index.example/@scope/pkg", "https://index.example/@scope/pkg"),
        ("https://usr:h/simple/@host/pkg", "https://…@host/pkg"),
        ("https://Tok/en/@host/pkg", "https://…@host/pkg"),
        ("file:///srv/wheels", "file:///srv/wheels"),
        ("http://[::1]:8080/simple", "http://[::1]:8080/simple"),
        ("../wheels", "../wheels"),
    ],
)
def test_what_is_shown(url: str, expected: str) -> None:
    """A URL is shown without what may be secret, and otherwise as it is."""
    assert expected == redacted(url)


@pytest.mark.parametrize(
    "url",
    ["http://[", "http://h:abc/", "http://h:99999/", "http://u:p@[::1/x", "http://", "http://u:p@/x", "http://a b/"],
)
def test_a_url_without_a_host_is_invalid(url: str) -> None:
    """A URL without a valid host and port is refused before it is requested, with a message of its own."""
    with pytest.raises(InvalidUrlError, match="the URL is invalid"):
        split_userinfo(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ssh://git:pass@host/repository", "ssh://git@host/repository"),
        ("git+ssh://git@host/repository", "git+ssh://git@host/repository"),
        ("git@host:org/repository", "git@host:org/repository"),
        ("https://user:p@host/repository", "https://host/repository"),
    ],
)
def test_the_user_of_ssh_is_part_of_the_address(url: str, expected: str) -> None:
    """The user name of an ssh URL is kept, its password is not."""
    assert expected == without_credentials(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host/a.whl", True),
        ("https://host/a.whl?X-Amz-Signature=1", False),
        ("https://u:p@host/a.whl", False),
        ("file:///srv/a.whl", True),
    ],
)
def test_what_is_stored(url: str, expected: bool) -> None:
    """A URL with a login or a query, which may be a signature, is never stored."""
    assert expected == may_be_stored(url)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "git: https://usr:a/b#c d@host/x: denied\nssh://git@host",
            "git: https://host/x: denied\nssh://host",
        ),
        ("http://user:se cret@h", "http://h"),
        ("http://user:secret @h/x", "http://h/x"),
        ("http://to ken@h", "http://h"),
        ("https:/user:secret@h/x", "https:/h/x"),
        ("http://u:p@/x", "http:///x"),
    ],
)
def test_text_of_other_programs(text: str, expected: str) -> None:
    """Logins in the text of another program are removed, also with characters that a URL would have to encode, for both readers."""
    assert expected == without_userinfo(text)
    assert "secret" not in without_secrets(text)


@pytest.mark.parametrize(
    "text",
    [
        "Failed to download `https://index.example/simple/foo/` needed by bar @ file",
        "`https://index.example/simple/foo/` needed by bar@2",
        "https://host:8080/simple needed by bar @ file",
        "https://h/simple/@scope/pkg is missing",
    ],
)
def test_text_without_a_login_stays(text: str) -> None:
    """An @ that ends no login removes nothing."""
    assert (text, text) == (without_userinfo(text), without_secrets(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Failed: "http://u:hunter2@h/x?sig=hunter2"', 'Failed: "http://h/x?…"'),
        ("get http://h/x#hunter2, then http://h/y", "get http://h/x?… then http://h/y"),
        ("get http://h/x: what? # nothing", "get http://h/x: what? # nothing"),
    ],
)
def test_a_text_with_urls_has_no_secrets(text: str, expected: str) -> None:
    """The text of another program keeps its words, and loses what may be secret in the URLs that it quotes."""
    assert expected == without_url_secrets(text)
