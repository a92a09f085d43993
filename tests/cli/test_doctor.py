"""`lamina doctor` shows what a build uses and what prevents it, and never a password."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import lamina
from lamina import __version__
from lamina.bytecode.interpreter import environment_variable
from lamina.cli.main import main
from lamina.core.target import runtimes
from locking import write_pylock
from services import Service
from sourceprojects import make_sdist, source_files
from wheels import sha256

if TYPE_CHECKING:
    from collections.abc import Callable

MINOR = f"{sys.version_info[0]}.{sys.version_info[1]}"
SECRET = "s3cret-Pa55w0rd"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty directory, on a machine whose only interpreter is the one that runs the tests."""
    for name in list(os.environ):
        if name not in {"PIP_CONFIG_FILE", "UV_NO_CONFIG", "COVERAGE_RUN"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "home" / "store"))
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    work = tmp_path / "work"
    work.mkdir()
    (work / ".git").mkdir()  # the search for a lock file ends here
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def service(place: Path) -> Service:
    """Return a service in the working directory that can be built."""
    service = Service(root=place, wheels=place / "wheels")
    service.settings["runtime"] = f'"python{MINOR}"'
    service.write()
    return service


def report(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, list[str]]:
    """Run the command; return the lines of the report by label."""
    assert code == main(["doctor", *arguments])
    out, err = capsys.readouterr()
    assert "" == err
    found: dict[str, list[str]] = {}
    label = ""
    for line in out.splitlines():
        assert line.startswith("    ")
        label = line[4:18].strip() or label
        found.setdefault(label, []).append(line[18:])
    return found


def test_a_service(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """The report describes the machine and the service, and a healthy machine has no problems."""
    shown = report(capsys)

    assert shown["lamina"][0].startswith(__version__)
    assert f"CPython {sys.version.split()[0]}  {sys.executable}" == shown["Python"][0]
    assert [f"{each.python[0]}.{each.python[1]}" for each in reversed(runtimes())] == [
        ".".join(line.split()[0].split(".")[:2]) for line in shown["interpreters"]
    ]
    assert 1 == len([line for line in shown["interpreters"] if line.startswith(MINOR) and "not found" not in line])
    assert ["audit:", "aws:", "cdk:", "keyring:", "local:", "report:", "sandbox:", "uv:"] == [
        line.split()[0] for line in shown["extras"] if not line.startswith("all")
    ]
    assert [f"~{os.sep}store", "0.0 kB in 0 files, writable"] == [
        line.split(", ", 2)[0] for line in shown["store"][:1]
    ] + [", ".join(shown["store"][1].split(", ")[:2])]
    assert shown["project"] == [
        str(service.root / "pyproject.toml"),
        f"  greeter for python{MINOR} on x86_64: 1 function, 1 layer",
        f"  lock file: {service.root / 'pylock.toml'}",
    ]
    assert shown["AWS"] == ["credentials: none configured", "region: none configured"]
    assert f"LAMINA_CACHE_DIR=~{os.sep}store" in shown["environment"]
    assert shown["problems"] == ["none"]
    assert not (service.root.parent / "home").exists()


@pytest.mark.usefixtures("service")
def test_stage(capsys: pytest.CaptureFixture[str]) -> None:
    """The search for programs takes a while on a busy machine, so there is a stage; the report stays on stdout."""
    assert 0 == main(["doctor", "--verbose"])

    assert "examining this machine …\n" == capsys.readouterr().err


def test_json(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` reports the same as values."""
    code = main(["doctor", "--json"])
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)

    assert 0 == code
    assert ("1", __version__, []) == (shown["version"], shown["lamina"]["version"], shown["problems"])
    assert sys.executable == shown["python"]["path"]
    assert [MINOR] == [each["minor"] for each in shown["interpreters"] if each["program"] is not None]
    assert {"aws", "local"} <= {each["name"] for each in shown["extras"]}
    assert shown["project"] == {
        "services": [
            {
                "directory": str(service.root),
                "file": "pyproject.toml",
                "name": "greeter",
                "targets": [f"python{MINOR} on x86_64"],
                "functions": 1,
                "layers": 1,
                "lock": str(service.root / "pylock.toml"),
            }
        ],
        "is_workspace": False,
        "reason": None,
    }
    assert (0, True) == (shown["store"]["bytes"], shown["store"]["writable"])
    assert shown["aws"] == {"credentials": None, "region": None, "mistake": None}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("unreadable", [".", "segments"])
def test_unreadable_store(
    unreadable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store that this user cannot read is a problem, and the rest is described all the same."""
    store = tmp_path / "unreadable"
    (store / "segments").mkdir(parents=True)
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(store))
    (store / unreadable).chmod(0)
    shown = report(capsys, code=1)
    (store / unreadable).chmod(0o700)

    assert shown["AWS"] == ["credentials: none configured", "region: none configured"]
    fact = f"the store `{store}` is not readable: cannot read `{store / unreadable}`: Permission denied"
    assert fact in shown["problems"]


def test_no_project(capsys: pytest.CaptureFixture[str]) -> None:
    """A directory without a configuration is no problem; the report says why there is no project."""
    shown = report(capsys)

    (line,) = shown["project"]
    assert line.startswith("none: no `pyproject.toml` or `lamina.toml` found in")
    assert shown["problems"] == ["none"]


def test_a_workspace(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All services of a workspace are shown, and the problems of each."""
    for name in ("good", "bad"):
        service = Service(root=place / name, wheels=place / "wheels")
        service.settings |= {"runtime": f'"python{MINOR}"', "bytecode": '"none"' if name == "good" else '"nothing"'}
        service.write()
    shown = report(capsys, code=1)

    assert ["a workspace of 2 services", str(place / "bad"), str(place / "good" / "pyproject.toml")] == [
        line for line in shown["project"] if not line.startswith(" ")
    ]
    assert shown["problems"] == [
        "`pyproject.toml`: tool.lamina.bytecode: unknown value `nothing`; expected one of `none`, `reachable`, `all`"
    ]


def missing_interpreter(service: Service, _: pytest.MonkeyPatch) -> None:
    minor = "3.14" if MINOR != "3.14" else "3.13"
    service.settings |= {"runtime": f'"python{minor}"', "bytecode": '"all"'}
    service.write()


def unsuitable_interpreter(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), str(service.root / "pyproject.toml"))
    service.settings["bytecode"] = '"all"'
    service.write()


def unwritable_store(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(service.root / "pyproject.toml" / "store"))


def no_lock(service: Service, _: pytest.MonkeyPatch) -> None:
    (service.root / "pylock.toml").unlink()


def invalid_toml(service: Service, _: pytest.MonkeyPatch) -> None:
    (service.root / "pyproject.toml").write_text("[tool.lamina\n")


def invalid_pip(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    (service.root / "pip.conf").write_text(f"{SECRET}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(service.root / "pip.conf"))


def invalid_netrc(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    (service.root / "netrc").write_text(f"machine index.example login {SECRET} {SECRET}\n")
    monkeypatch.setenv("NETRC", str(service.root / "netrc"))


def invalid_index(_: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_INDEX", f"https://user:{SECRET}@[index.example/simple")


def missing_certificates(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(service.root / "ca.pem"))


def unlocked(service: Service, _: pytest.MonkeyPatch) -> None:
    (service.root / "pylock.toml").write_text("<<<<<<< HEAD\n")


def forbidden_builds(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    sdist = make_sdist(service.root / "files", "pure", "1.0", source_files("pure"))
    row = {"name": sdist.name, "path": str(sdist), "hashes": {"sha256": sha256(sdist)}}
    write_pylock(service.root, {"name": "pure", "version": "1.0", "sdist": row})
    monkeypatch.setenv("LAMINA_NO_BUILD", "1")


def forbidden_builds_in_the_project(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    forbidden_builds(service, monkeypatch)
    monkeypatch.delenv("LAMINA_NO_BUILD")
    service.settings["build-sources"] = "false"
    (service.root / "pyproject.toml").write_text(service._pyproject())


@pytest.mark.parametrize(
    ("break_it", "cause", "hint"),
    [
        (missing_interpreter, "no CPython 3.1", "set `LAMINA_PYTHON_3_1"),
        (unsuitable_interpreter, "missing or not a working Python interpreter", "executable of such a release"),
        (unwritable_store, "is not writable", "set `LAMINA_CACHE_DIR`"),
        (no_lock, "no lock file found", "create one: "),
        (unlocked, "has the conflict markers of a merge", "resolve the conflict with git"),
        (forbidden_builds, "`LAMINA_NO_BUILD` forbids building", "run `unset LAMINA_NO_BUILD`"),
        (
            forbidden_builds_in_the_project,
            "`build-sources` in the configuration forbids",
            'set `build-sources = ["pure"]`',
        ),
        (invalid_toml, "is not valid TOML", ""),
        (invalid_pip, "is not a valid pip configuration file", ""),
        (invalid_netrc, "is not a valid netrc file", ""),
        (invalid_index, "`UV_INDEX` has an invalid URL of an index", "percent-encode special characters"),
        (missing_certificates, "ca.pem` does not exist", "correct `SSL_CERT_FILE`"),
    ],
    ids=lambda each: getattr(each, "__name__", None) or "",
)
def test_a_problem(
    break_it: Callable[[Service, pytest.MonkeyPatch], None],
    cause: str,
    hint: str,
    *,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever prevents a build is named once, with the next step, and the exit code is 1."""
    break_it(service, monkeypatch)
    shown = report(capsys, code=1)["problems"]

    assert [True] == [cause in line for line in shown if not line.startswith("  hint: ")]
    assert [True] * bool(hint) == [hint in line for line in shown if line.startswith("  hint: ")]
    assert SECRET not in str(shown)


def test_a_full_disk(service: Service) -> None:
    """The store's disk can be full although files can still be created there."""
    done = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -f 0; exec "$@"', "sh", sys.executable, "-m", "lamina", "doctor", "--json"],
        cwd=service.root,
        env={**os.environ, "PYTHONPATH": str(Path(lamina.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 1 == done.returncode, done.stderr
    (problem,) = json.loads(done.stdout)["problems"]
    assert "DiskFullError" == problem["kind"]
    assert "free space" in problem["hint"]


@pytest.mark.parametrize("arguments", [[], ["--json"], ["-v"]], ids=["text", "json", "verbose"])
def test_nothing_secret_is_shown(
    arguments: list[str], service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No password, token or key is in the report, wherever it is configured, but that it is configured is."""
    root = service.root
    login = f"https://{SECRET}:{SECRET}@"
    service.settings["store"] = f'"{login}bucket"'
    service.write()
    with (root / "pyproject.toml").open("a") as file:
        file.write(f'[[tool.uv.index]]\nname = "own"\nurl = "{login}uv.example/{SECRET}/simple"\n')
    (root / "pip.conf").write_text(f"[global]\nextra-index-url = {login}pip.example/{SECRET}/simple?token={SECRET}\n")
    (root / "netrc").write_text(f"machine netrc.example login {SECRET} password {SECRET}\n")
    (root / "aws").write_text(
        f"[profile {SECRET}]\nregion = eu-west-1\naws_access_key_id = {SECRET}\naws_secret_access_key = {SECRET}\n"
    )
    for name, value in {
        "PIP_CONFIG_FILE": str(root / "pip.conf"),
        "NETRC": str(root / "netrc"),
        "UV_INDEX": f"named=https://named.example/simple {login}env.example/{SECRET}/ https://netrc.example/simple",
        "UV_INDEX_NAMED_USERNAME": SECRET,
        "UV_INDEX_NAMED_PASSWORD": SECRET,
        "POETRY_HTTP_BASIC_OWN_PASSWORD": SECRET,
        "HTTPS_PROXY": f"http://user:{SECRET}@proxy.example:8080",
        "http_proxy": f"http://user:{SECRET}@proxy.example:8080",
        "SSL_CERT_FILE": f"https://user:{SECRET}@host/ca.pem",
        "AWS_CONFIG_FILE": str(root / "aws"),
        "AWS_PROFILE": SECRET,
        "AWS_SESSION_TOKEN": SECRET,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("UV_NO_CONFIG")
    code = main(["doctor", *arguments])
    out, err = capsys.readouterr()

    assert 1 == code
    assert SECRET not in out + err
    for host in ("uv", "pip", "env", "named", "netrc"):
        assert f"https://{host}.example" in out
    for told in ("UV_INDEX_NAMED_PASSWORD", "HTTPS_PROXY", "http_proxy", "access key in the AWS profile", "eu-west-1"):
        assert told in out


def test_credentials_of_indexes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The report shows for each index whether lamina has credentials, and of directories only that they are directories."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"https://user:{SECRET}@own.example:8443/simple")
    monkeypatch.setenv("UV_INDEX", "https://other.example/simple")
    monkeypatch.setenv("UV_FIND_LINKS", "./wheels")

    assert report(capsys)["indexes"] == [
        "local directory",
        "https://other.example",
        "https://own.example:8443, with credentials",
    ]
