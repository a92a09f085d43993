from __future__ import annotations

import os
import traceback
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pip._internal.models.index import PyPI

from lamina.core.errors import ConfigError
from lamina.fetch.settings import IndexSettings, read_pip, read_settings

DEFAULT = f"{PyPI.simple_url}/"
"""The URL of pip's own default index."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project" / "service"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """Isolate the test from this machine's configuration files and variables."""
    return {"HOME": str(home), "XDG_CONFIG_DIRS": str(home / "xdg"), "PIP_CONFIG_FILE": os.devnull}


def urls(settings: IndexSettings) -> list[str]:
    return [source.url for source in settings.sources]


def test_default_is_pips(project: Path, environment: dict[str, str]) -> None:
    """Without configuration, pip's default index is used."""
    settings = read_settings(project, environment=environment)

    assert [DEFAULT] == urls(settings)


def test_ranks(project: Path, environment: dict[str, str], home: Path) -> None:
    """Arguments rank above uv's variables, pip's variables, uv's files and pip's files, and one default index is last."""
    environment |= {
        "UV_INDEX": "own=https://uv-index.example/simple https://uv-index-2.example/simple",
        "UV_EXTRA_INDEX_URL": "https://uv-extra.example/simple",
        "UV_DEFAULT_INDEX": "https://uv-default.example/simple",
        "PIP_INDEX_URL": "https://pip-default.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://pip-extra.example/simple https://uv-extra.example/simple/",
        "PIP_CONFIG_FILE": str(home / "pip.conf"),
    }
    (project / "uv.toml").write_text(
        '[[index]]\nurl = "https://uv-file.example/simple"\n'
        '[[index]]\nurl = "https://uv-file-default.example/simple"\ndefault = true\n'
    )
    (home / "pip.conf").write_text(
        "[global]\nextra-index-url = https://replaced.example/simple\nfind-links = https://links.example/links\n"
    )
    settings = read_settings(project, extra_index_urls=["https://argument.example/simple"], environment=environment)

    assert urls(settings) == [
        "https://links.example/links",
        "https://argument.example/simple",
        "https://uv-index.example/simple",
        "https://uv-index-2.example/simple",
        "https://uv-extra.example/simple",
        "https://pip-extra.example/simple",
        "https://uv-file.example/simple",
        "https://uv-default.example/simple",
    ]
    assert [True] + [False] * 7 == [source.flat for source in settings.sources]


DEFAULTS = {
    "UV_DEFAULT_INDEX": "https://a.example/simple",
    "UV_INDEX_URL": "https://b.example/simple",
    "PIP_INDEX_URL": "https://c.example/simple",
}


@pytest.mark.parametrize("left", [3, 2, 1])
def test_first_default_wins(project: Path, environment: dict[str, str], left: int) -> None:
    """Of several default indexes, only the first is queried."""
    environment |= dict(list(DEFAULTS.items())[-left:])
    settings = read_settings(project, environment=environment)

    assert list(DEFAULTS.values())[-left:][:1] == urls(settings)


def test_argument_is_before_every_default(project: Path, environment: dict[str, str]) -> None:
    """`--index-url` replaces the configured default index."""
    settings = read_settings(project, index_url="https://given.example/simple", environment=environment | DEFAULTS)

    assert urls(settings) == ["https://given.example/simple"]


def test_no_index(project: Path, environment: dict[str, str]) -> None:
    """If indexes are disabled, only flat sources remain."""
    (project / "links").mkdir()
    environment |= {"PIP_NO_INDEX": "1", "UV_INDEX": "https://a.example/simple", "PIP_FIND_LINKS": "links"}
    settings = read_settings(project, environment=environment)

    assert [(project / "links").as_uri()] == urls(settings)


def test_project_file_of_uv(project: Path, environment: dict[str, str]) -> None:
    """`[tool.uv]` is found in a parent directory, its paths are relative to its file, and explicit indexes are skipped."""
    (project.parent / "pyproject.toml").write_text(
        '[[tool.uv.index]]\nname = "local"\nurl = "./links"\nformat = "flat"\n'
        '[[tool.uv.index]]\nname = "special"\nurl = "https://special.example/simple"\nexplicit = true\n'
        '[[tool.uv.index]]\nname = "own"\nurl = "https://user:secret@own.example/simple"\ndefault = true\n'
    )
    settings = read_settings(project, environment=environment)
    login = settings.credentials.known("https://own.example/simple/a/")

    assert [(project.parent / "links").as_uri(), "https://own.example/simple"] == urls(settings)
    assert login is not None
    assert (login.user, login.password) == ("user", "secret")
    assert "secret" not in repr(settings)


def test_other_spellings_of_uv(project: Path, environment: dict[str, str]) -> None:
    """The older keys of uv are supported."""
    (project / "uv.toml").write_text(
        'index-url = "https://a.example/simple"\nextra-index-url = ["https://b.example/simple"]\n'
        '[pip]\nfind-links = ["https://links.example/"]\n'
    )
    settings = read_settings(project, environment=environment)

    assert urls(settings) == ["https://links.example/", "https://b.example/simple", "https://a.example/simple"]


def test_users_file_of_uv(project: Path, environment: dict[str, str], home: Path) -> None:
    """The user's own uv.toml is read, and can be disabled."""
    path = home / ".config" / "uv" / "uv.toml"
    path.parent.mkdir(parents=True)
    path.write_text('[[index]]\nurl = "https://own.example/simple"\ndefault = true\n')
    on = read_settings(project, environment=environment)
    off = read_settings(project, environment=environment | {"UV_NO_CONFIG": "1"})

    assert (["https://own.example/simple"], [DEFAULT]) == (urls(on), urls(off))


@pytest.mark.parametrize("name", ["uv.toml", "pyproject.toml"])
@pytest.mark.parametrize(
    ("setting", "fact"),
    [
        ('index = "https://user:secret@own.example"', "`{}index`: expected a list, found a string"),
        ('index = ["https://user:secret@own.example"]', "`{}index[0]`: expected a table, found a string"),
        ('index = [{url = "x"}, {name = "a"}]', "`{}index[1].url` is missing"),
        ("index = [{url = 5}]", "`{}index[0].url`: expected a string, found an integer"),
        ('index = [{url = "x", name = 5}]', "`{}index[0].name`: expected a string, found an integer"),
        ('index = [{url = "x", default = 1}]', "`{}index[0].default`: expected a boolean, found an integer"),
        ('index = [{url = "x", explicit = "a"}]', "`{}index[0].explicit`: expected a boolean, found a string"),
        ('index = [{url = "x", format = []}]', "`{}index[0].format`: expected a string, found a list"),
        ("find-links = 5", "`{}find-links`: expected a list, found an integer"),
        ('find-links = "links"', "`{}find-links`: expected a list, found a string"),
        ("find-links = [5]", "`{}find-links[0]`: expected a string, found an integer"),
        ("extra-index-url = [[]]", "`{}extra-index-url[0]`: expected a string, found a list"),
        ("index-url = {}", "`{}index-url`: expected a string, found a table"),
        ("pip = 5", "`{}pip`: expected a table, found an integer"),
        ("pip = {find-links = 2026-01-01}", "`{}pip.find-links`: expected a list, found a date or time"),
    ],
)
def test_wrong_types_in_the_settings_of_uv(
    project: Path, environment: dict[str, str], name: str, setting: str, fact: str
) -> None:
    """The error names the file and the key of a value with a wrong type, but does not quote the value."""
    prefix = "tool.uv." if name == "pyproject.toml" else ""
    (project / name).write_text(f"{prefix}{setting}\n")
    with pytest.raises(ConfigError) as caught:
        read_settings(project, environment=environment)

    assert f"`{project / name}` has an invalid setting of uv: {fact.format(prefix)}" == str(caught.value)


def test_tables_that_are_none(project: Path, environment: dict[str, str]) -> None:
    """`tool.uv` has to be a table; a file without it says nothing about indexes."""
    (project / "pyproject.toml").write_text("tool = 5 # uv\n")
    assert [DEFAULT] == urls(read_settings(project, environment=environment))

    (project / "pyproject.toml").write_text("[tool]\nuv = 5\n")
    with pytest.raises(ConfigError, match=r"`tool\.uv`: expected a table, found an integer"):
        read_settings(project, environment=environment)


@pytest.mark.parametrize("variable", ["UV_INDEX_URL", "UV_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"])
def test_home_of_an_unknown_user(project: Path, environment: dict[str, str], variable: str) -> None:
    """A path in the home directory of a user that does not exist is an error with its place."""
    with pytest.raises(ConfigError) as caught:
        read_settings(project, environment=environment | {variable: "~no-such-user/links"})

    assert str(caught.value) == f"`{variable}` has a path of an index in the home directory of an unknown user"


def test_home_of_an_unknown_user_in_a_file(project: Path, environment: dict[str, str]) -> None:
    """The error about such a path in uv's settings names the file."""
    (project / "uv.toml").write_text('find-links = ["~no-such-user/links"]\n')
    with pytest.raises(ConfigError, match="unknown user") as caught:
        read_settings(project, environment=environment)

    assert str(caught.value).startswith(f"`{project / 'uv.toml'}` has")


@pytest.mark.parametrize("name", ["uv.toml", "pyproject.toml"])
def test_damaged_toml(project: Path, environment: dict[str, str], name: str) -> None:
    """The error names a file that is not TOML, but does not quote it."""
    (project / name).write_text('[tool.uv]\nindex-url = "https://user:secret@own.example\n')
    with pytest.raises(ConfigError) as caught:
        read_settings(project, environment=environment)

    assert str(caught.value) == f"`{project / name}` is not valid TOML"


@pytest.mark.parametrize("name", ["uv.toml", "pyproject.toml"])
def test_toml_that_is_not_utf_8(project: Path, environment: dict[str, str], name: str) -> None:
    """The error says that a file is not UTF-8, but does not quote it."""
    (project / name).write_bytes(b'[tool.uv]\nindex-url = "https://user:s\xe9cret@own.example"\n')
    with pytest.raises(ConfigError) as caught:
        read_settings(project, environment=environment)

    assert str(caught.value) == f"`{project / name}` is not valid UTF-8 at byte 37: save it as UTF-8"


def test_missing_toml(project: Path, environment: dict[str, str]) -> None:
    """The error says why the file in `UV_CONFIG_FILE` cannot be read."""
    path = project / "missing.toml"
    with pytest.raises(ConfigError) as caught:
        read_settings(project, environment=environment | {"UV_CONFIG_FILE": str(path)})

    assert str(caught.value) == f"cannot read `{path}`: No such file or directory"


def test_pip_levels(home: Path, tmp_path: Path) -> None:
    """Of pip's files, the more specific one wins, and environment variables win over all files."""
    site = tmp_path / "venv"
    site.mkdir()
    files = {
        home / "xdg/pip/pip.conf": "[global]\nindex-url = https://site-wide.example\ncert = /site-wide.pem\n",
        home / ".config/pip/pip.conf": "[global]\nindex_url = https://user.example\nno-index = 0\n",
        site / "pip.conf": "[install]\n--extra-index-url =\n  https://one.example\n  https://two.example\n",
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    environment = {"HOME": str(home), "XDG_CONFIG_DIRS": str(home / "xdg"), "VIRTUAL_ENV": str(site)}
    values = read_pip(environment | {"PIP_NO_INDEX": "true"})

    assert "https://user.example" == values["index-url"]
    assert values["extra-index-url"].split() == ["https://one.example", "https://two.example"]
    assert values["no-index"] == "true"


def test_pips_own_file_replaces_the_users(home: Path, tmp_path: Path) -> None:
    """`PIP_CONFIG_FILE` is read instead of the user's file, and the null device disables all files."""
    user = home / ".config/pip/pip.conf"
    user.parent.mkdir(parents=True)
    user.write_text("[global]\nindex-url = https://user.example\nfind-links = user\n")
    own = tmp_path / "own.conf"
    own.write_text("[global]\nindex-url = https://own.example\n")
    environment = {"HOME": str(home), "XDG_CONFIG_DIRS": str(home / "xdg"), "VIRTUAL_ENV": str(tmp_path)}
    values = read_pip(environment | {"PIP_CONFIG_FILE": str(own)})

    assert ("https://own.example", None) == (values["index-url"], values.get("find-links"))
    assert {} == read_pip(environment | {"PIP_CONFIG_FILE": os.devnull})


def test_damaged_pip_file(home: Path, tmp_path: Path) -> None:
    """The error names an invalid pip configuration file, but does not quote it."""
    path = tmp_path / "pip.conf"
    path.write_text("index-url = https://user:secret@own.example\n")
    with pytest.raises(ConfigError) as caught:
        read_pip({"HOME": str(home), "PIP_CONFIG_FILE": str(path)})

    assert str(caught.value) == f"`{path}` is not a valid pip configuration file: error in line 1"


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"])
def test_certificates(project: Path, environment: dict[str, str], variable: str) -> None:
    """A certificate bundle is read from any of the usual variables."""
    settings = read_settings(project, environment=environment | {variable: "/bundle.pem"})

    assert Path("/bundle.pem") == settings.certificates


def test_default_is_secure(project: Path, environment: dict[str, str]) -> None:
    """The default index uses HTTPS."""
    (url,) = urls(read_settings(project, environment=environment))

    assert urlsplit(url).scheme == "https"


@pytest.mark.parametrize("password", ["hunter2/x", "hunter2#x", "hunter2?x", "hunter2[x", "hunter2/@x", "hunter2 x"])
@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("UV_INDEX_URL", "`UV_INDEX_URL`"),
        ("UV_DEFAULT_INDEX", "`UV_DEFAULT_INDEX`"),
        ("UV_INDEX", "`UV_INDEX`"),
        ("UV_EXTRA_INDEX_URL", "`UV_EXTRA_INDEX_URL`"),
        ("UV_FIND_LINKS", "`UV_FIND_LINKS`"),
        ("PIP_INDEX_URL", "`PIP_INDEX_URL`"),
        ("PIP_EXTRA_INDEX_URL", "`PIP_EXTRA_INDEX_URL`"),
        ("PIP_FIND_LINKS", "`PIP_FIND_LINKS`"),
        ("uv.toml", "uv.toml`"),
        ("pip.conf", "`index-url` in pip's configuration file"),
    ],
)
def test_a_password_that_makes_a_url_invalid(
    place: str, name: str, password: str, project: Path, environment: dict[str, str]
) -> None:
    """An error names the variable or file with the URL, and nothing of the URL; a valid URL is split, whatever its password."""
    url = f"http://usr:{password}@index.example/simple"
    if place == "uv.toml":
        (project / "uv.toml").write_text(f'[[index]]\nurl = "{url}"\n')
    elif place == "pip.conf":
        (project / "pip.conf").write_text(f"[global]\nindex-url = {url}\n")
        environment["PIP_CONFIG_FILE"] = str(project / "pip.conf")
    else:
        environment[place] = url
    told = ("http://index.example/simple", "")
    try:
        settings = read_settings(project, environment=environment)
        shown, told = repr(settings), (urls(settings)[0], "")
    except ConfigError as error:
        shown = "".join(traceback.format_exception(error))
        told = (str(error), str(error.hint))

    assert "hunter2" not in shown
    assert told == ("http://index.example/simple", "") or (name in told[0] and "%2F" in told[1])
