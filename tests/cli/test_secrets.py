"""No password and no signature of a URL reaches the output, the store, or the files of a build."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from lamina.cli.main import main
from loopback import IndexServer
from services import make_service
from wheels import sha256

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services import Service

SECRET = "hunter2"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[IndexServer]:
    with IndexServer(tmp_path / "wheels") as server:
        yield server


@pytest.fixture
def signed(server: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service whose lock has URLs with a signature."""
    service = make_service(tmp_path, base_url=f"{server.url}/files")
    monkeypatch.chdir(service.write())
    lock = service.root / "pylock.toml"
    lock.write_text(lock.read_text().replace('.whl"\nsize', f'.whl?X-Amz-Signature={SECRET}"\nsize'))
    return service


def files_with(secret: str, *directories: Path) -> list[str]:
    """Return the files below *directories* whose name or content contains *secret*, also of zips without compression."""
    return [
        str(path)
        for directory in directories
        for path in directory.rglob("*")
        if secret in path.name or (path.is_file() and secret.encode() in path.read_bytes())
    ]


def hashed_requirements(service: Service) -> None:
    (service.root / "pylock.toml").unlink()
    lines = [f"{name}=={path.name.split('-')[1]} --hash=sha256:{sha256(path)}" for name, path in service.locked.items()]
    (service.root / "requirements.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("is_damaged", [False, True])
def test_signed_urls_are_not_stored(
    signed: Service, server: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_damaged: bool
) -> None:
    """Neither the store nor the files of a build have the signature, and a wheel that is gone or damaged is downloaded again."""
    store = tmp_path / "store"
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(store))

    assert 0 == main(["build", "-q"])
    assert [] == files_with(SECRET, store, signed.root / ".lamina")
    for path in (store / "wheels").rglob("*.whl"):
        path.write_bytes(b"damaged") if is_damaged else path.unlink()
    shutil.rmtree(store / "segments")
    shutil.rmtree(signed.root / ".lamina")
    assert 0 == main(["build", "-q"])
    assert [2, 2] == [len(server.requests_for(path.name)) for path in signed.locked.values()]
    assert [] == files_with(SECRET, store, signed.root / ".lamina")


def test_signed_urls_of_an_index_are_not_stored(
    server: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same holds for the links on an index page, and for the URL of an index with a query."""
    service = make_service(tmp_path)
    monkeypatch.chdir(service.write())
    hashed_requirements(service)
    for name, path in service.locked.items():
        link = f'<a href="../../files/{path.name}?sig={SECRET}#sha256={sha256(path)}">{path.name}</a>'
        server.behaviour.pages[name] = link.encode()
    monkeypatch.setenv("UV_INDEX_URL", f"http://usr:{SECRET}@127.0.0.1:{server.port}/simple")
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))

    assert 0 == main(["build", "-q"])
    assert [] == files_with(SECRET, tmp_path / "store", service.root / ".lamina")
    assert 0 == main(["build", "-q", "--architecture", "arm64"])


@pytest.mark.parametrize("password", ["hunter2/x", "hunter2#x", "hunter2?x", "[hunter2/", "hunter2/@"])
@pytest.mark.parametrize("arguments", [["build"], ["build", "-v"], ["build", "--json"], ["build", "--dry-run"]])
def test_no_command_prints_a_password(
    arguments: list[str],
    password: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A password in the URL of an index is not printed, nor shown in a traceback, whatever its characters."""
    service = make_service(tmp_path)
    monkeypatch.chdir(service.write())
    hashed_requirements(service)
    monkeypatch.setenv("UV_INDEX_URL", f"http://usr:{password}@127.0.0.1:1/simple")
    code = main(arguments)
    out, err = capsys.readouterr()

    assert SECRET not in out + err
    assert (2, True) == (code, "`UV_INDEX_URL` has an invalid URL" in err)


@pytest.mark.parametrize("kind", ["pylock.toml", "uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock"])
@pytest.mark.parametrize("password", ["hunter2/x", "hunter2#x", "hunter2?x", "[hunter2/"])
def test_no_lock_prints_a_password(
    kind: str, password: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same holds for the URL of a file in a lock, in any format."""
    service = make_service(tmp_path)
    monkeypatch.chdir(service.write())
    (service.root / "pylock.toml").unlink()
    url, digest = f"http://usr:{password}@127.0.0.1:1/a-1.0-py3-none-any.whl", "0" * 64
    files = f'{{url = "{url}", hash = "sha256:{digest}"}}'
    content = {
        "pylock.toml": 'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "a"\nversion = "1.0"\n'
        f'[[packages.wheels]]\nname = "a-1.0-py3-none-any.whl"\nurl = "{url}"\nhashes = {{sha256 = "{digest}"}}\n',
        "uv.lock": 'version = 1\nrequires-python = ">=3.12"\n[[package]]\nname = "greeter"\nversion = "1"\n'
        'source = { virtual = "." }\ndependencies = [{ name = "a" }]\n[package.metadata]\n'
        'requires-dist = [{ name = "a" }]\n[[package]]\nname = "a"\nversion = "1.0"\n'
        f'source = {{ registry = "http://h/simple" }}\nwheels = [{files}]\n',
        "poetry.lock": '[[package]]\nname = "a"\nversion = "1.0"\ngroups = ["main"]\nfiles = '
        f'[{{file = "a-1.0-py3-none-any.whl", hash = "sha256:{digest}"}}]\n'
        f'[package.source]\ntype = "url"\nurl = "{url}"\n[metadata]\nlock-version = "2.1"\n',
        "Pipfile.lock": json.dumps(
            {
                "_meta": {"pipfile-spec": 6, "hash": {"sha256": ""}, "sources": [{"name": "x", "url": url}]},
                "default": {"a": {"version": "==1.0", "hashes": [f"sha256:{digest}"], "index": "x"}},
            }
        ),
        "pdm.lock": '[metadata]\nlock_version = "4.5.0"\ngroups = ["default"]\ncontent_hash = "sha256:0"\n'
        f'[[package]]\nname = "a"\nversion = "1.0"\ngroups = ["default"]\nfiles = [{files}]\n',
    }
    (service.root / kind).write_text(content[kind])
    if kind != "Pipfile.lock":
        pyproject = service.root / "pyproject.toml"
        pyproject.write_text(
            pyproject.read_text().replace('version = "1"\n', 'version = "1"\ndependencies = ["a"]\n', 1)
        )
    code = main(["build", "-v"])
    out, err = capsys.readouterr()

    assert 0 != code
    assert "bug in lamina" not in err
    assert SECRET not in out + err


PLACES = [
    f"https:/usr:{SECRET}@127.0.0.1/a-1.0-py3-none-any.whl",
    f"usr:{SECRET}@127.0.0.1",
    f"https:/h/a?token={SECRET}",
]
DIGEST = "0" * 64


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "lock",
    [
        ("requirements.txt", f"a @ PLACE --hash=sha256:{DIGEST}\n"),
        ("requirements.txt", f"PLACE --hash=sha256:{DIGEST}\n"),
        ("requirements.txt", "-e PLACE\n"),
        *(
            (
                "pylock.toml",
                f'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "a"\nversion = "1.0"\n{table}\n',
            )
            for table in (
                '[packages.directory]\npath = "PLACE"',
                f'[packages.archive]\npath = "PLACE"\nhashes = {{sha256 = "{DIGEST}"}}',
                f'[[packages.wheels]]\nname = "a-1.0-py3-none-any.whl"\npath = "PLACE"\nhashes = {{sha256 = "{DIGEST}"}}',
            )
        ),
        *(
            (
                "uv.lock",
                (
                    'version = 1\nrequires-python = ">=3.12"\n[[package]]\nname = "greeter"\nversion = "1"\n'
                    'source = { virtual = "." }\ndependencies = [{ name = "a" }]\n[package.metadata]\n'
                    f'requires-dist = [{{ name = "a" }}]\n[[package]]\nname = "a"\nversion = "1.0"\nsource = {{ {source} = "PLACE" }}\n{more}'
                ),
            )
            for source, more in (
                ("directory", ""),
                ("editable", ""),
                ("path", f'wheels = [{{filename = "a-1.0-py3-none-any.whl", hash = "sha256:{DIGEST}"}}]\n'),
            )
        ),
        *(
            (
                "Pipfile.lock",
                json.dumps(
                    {
                        "_meta": {"pipfile-spec": 6, "hash": {"sha256": ""}, "sources": []},
                        "default": {"a": {key: "PLACE", "ref": DIGEST[:40], "hashes": [f"sha256:{DIGEST}"]}},
                    }
                ),
            )
            for key in ("file", "path")
        ),
    ],
)
def test_no_path_in_a_lock_prints_a_password(
    lock: tuple[str, str],
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A path that is a mistyped URL is shown without its password and its query, in errors and in tracebacks."""
    kind, content = lock
    service = make_service(tmp_path)
    monkeypatch.chdir(service.write())
    (service.root / "pylock.toml").unlink()
    (service.root / kind).write_text(content.replace("PLACE", place))
    if kind == "uv.lock":
        pyproject = service.root / "pyproject.toml"
        pyproject.write_text(
            pyproject.read_text().replace('version = "1"\n', 'version = "1"\ndependencies = ["a"]\n', 1)
        )
    assert 0 != main(["build", "-v"])
    out, err = capsys.readouterr()

    assert SECRET not in out + err
