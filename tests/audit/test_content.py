"""Content that does not belong into layers and packages, each next to the mended one."""

from __future__ import annotations

import base64
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audit.inspected import WHEEL, inspection_of, layer_of, package_of
from lamina.audit import secrets
from lamina.audit.families.content import check
from lamina.audit.secrets import secrets_in
from lamina.core.values import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lamina.core.values import Finding, Layer

# Made from pieces, so that no scanner takes this file for one with secrets.
LETTERS = "aB3dE5gH7jK9mN1pQ2sT4vW6yZ8bC0fG" * 4
GITHUB = "ghp_" + LETTERS[:36]
STRIPE = "sk_live_" + LETTERS[:24]
AWS_ID = "AKIA" + "Q2W3E4R5T6Y7U2I3"
AWS = f'key = "{AWS_ID}"\nsecret = "{LETTERS[:40]}"\n'
KEY = "-----BEGIN RSA PRIVATE " + "KEY-----"
PEM = f"{KEY}\n{base64.b64encode(bytes(range(48))).decode()}\n"


def found(directory: Path, files: Mapping[str, str], layers: Sequence[Layer] = ()) -> list[Finding]:
    """Return the findings on a package with *files*, and on *layers*, which its function uses."""
    content = {path: text.encode() for path, text in files.items()}
    package = package_of(directory, "orders", content, [layer.name for layer in layers])
    return list(check(inspection_of(directory, layers=layers, packages=[package])))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"# first\nTOKEN = '{GITHUB}'\n", "a token of GitHub in line 2"),
        (f"stripe: {STRIPE}", "a key of Stripe in line 1"),
        (AWS, "an AWS access key in line 1"),
        (PEM, "a private key in line 1"),
        (f'{{"key": "{KEY}\\n{LETTERS[:64]}\\n"}}', "a private key in line 1"),
        (f"x = 1\n\nslack = 'xoxb-123456789012-{LETTERS[:24]}'", "a token of Slack in line 3"),
        (f"AIza{LETTERS[:35]}", "an API key of Google in line 1"),
        (
            f"[default]\naws_secret_access_key = {LETTERS[:40]}\naws_access_key_id = {AWS_ID}\n",
            "an AWS access key in line 2",
        ),
        (f'{{"SecretAccessKey": "{LETTERS[:40]}", "AccessKeyId": "{AWS_ID}"}}', "an AWS access key in line 1"),
        (f"K = (\n    '{KEY}\\n'\n    '{LETTERS[:64]}\\n'\n)", "a private key in line 2"),
        (f'K = b"{KEY}\\n"\\\n b"{LETTERS[:64]}"', "a private key in line 1"),
        (f'K = "{KEY}\\n" \\\n  "{LETTERS[:64]}"', "a private key in line 1"),
        (f"K = [\"{KEY}\",\n  '{LETTERS[:64]}']", "a private key in line 1"),
        (f"{KEY}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,3F17\n\n{LETTERS[:64]}", "a private key in line 1"),
        (f"SQLite\0\0{GITHUB}\0", "a token of GitHub in line 1"),
    ],
)
def test_secret(tmp_path: Path, text: str, what: str) -> None:
    """The finding names the file, the line and the cure, and never has the secret itself."""
    (tmp_path / "app.py").touch()

    (finding,) = found(tmp_path, {"app.py": text})

    assert ("secret-in-artifact", Severity.ERROR, "orders", "app.py") == (
        finding.rule,
        finding.severity,
        finding.path,
        finding.file,
    )
    secret, _, line = what.rpartition(" in line ")
    assert (
        f"the package of `orders`: `app.py` contains {secret}; revoke it, and read it from Secrets Manager or the Parameter Store instead"
        == finding.message
    )
    assert str(finding.line) == line


@pytest.mark.parametrize(
    "text",
    [
        "AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        'key = "AKIAQ2W3E4R5T6Y7U2I3"',  # only the identifier, which is not secret
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        f'if text.startswith("{KEY}"):\n    pass\n',
        "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQG\n",
        "-----BEGIN PUBLIC KEY-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQG\n",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        'sk_test = "sk_live_..."',
        f'key = "{AWS_ID}"  # commit {"9f86d081884c7d659a2f" * 2}',
        f"{AWS_ID} {'Q2W3E4R5T6' * 4}",
    ],
)
def test_no_secret(tmp_path: Path, text: str) -> None:
    """Examples of the documentation, placeholders, public keys and code that mentions a form are no secrets."""
    assert [] == found(tmp_path, {"app.py": text})


def test_order(tmp_path: Path) -> None:
    """The secrets of one file are in the order of its lines, each with its own line, whatever their kinds are."""
    text = f"{AWS}\n{GITHUB}\n{AWS}\n{PEM}{STRIPE}\n{GITHUB}\n"

    assert [1, 4, 5, 8, 10, 11] == [finding.line for finding in found(tmp_path, {"app.py": text})]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    """A file that an editor of Windows wrote is searched, too."""
    path = tmp_path / "app.ini"
    path.write_text(f"[default]\n{AWS}", encoding=encoding)
    package = package_of(tmp_path, "orders", {"app.ini": path.read_bytes()}, [])

    assert [2] == [each.line for each in check(inspection_of(tmp_path, packages=[package]))]


@pytest.mark.parametrize(
    "text",
    [
        f"{KEY}\n" + "a: BEGIN\n" * 100_000,
        f"{KEY}\n" * 50_000,
        f"AKIA {LETTERS[:40]} " * 20_000,
        "AKIA" + LETTERS * 9_000,
    ],
)
def test_long_files(text: str) -> None:
    """The time for text that almost has secrets grows with its length only, so that the suite ends."""
    assert [] == list(secrets_in(text))


def test_many_secrets() -> None:
    """So does the time for the lines of many secrets."""
    assert [("a token of GitHub", line) for line in range(1, 50_001)] == list(secrets_in(f"{GITHUB}\n" * 50_000))


def test_where_secrets_are_searched(tmp_path: Path) -> None:
    """A local package is searched, and a wheel of an index, which is public, is not."""
    files = {"pkg": {"pkg/settings.py": f"TOKEN = '{GITHUB}'".encode()}}

    assert [] == found(tmp_path, {}, [layer_of(tmp_path, "common", files, artifact=WHEEL)])
    assert ["layer `common`: `python/pkg/settings.py` contains a token of GitHub in line 1"] == [
        finding.message.partition(";")[0]
        for finding in found(tmp_path, {}, [layer_of(tmp_path, "common", files, artifact="{name} (local)")])
    ]


def test_new_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was kept in the store does not hide the secrets that another version knows."""
    files = {"app.py": f"TOKEN = '{GITHUB}'"}
    with monkeypatch.context() as older:
        older.setattr(secrets, "_forms", lambda: ())
        assert [] == found(tmp_path, files)

    assert ["secret-in-artifact"] == [finding.rule for finding in found(tmp_path, files)]


def test_build_path(tmp_path: Path) -> None:
    """A file with the path of the project does not work on another machine; a longer name is another path."""
    (finding,) = found(tmp_path, {"settings.json": f'{{\n"data": "{tmp_path}/data.csv"}}'})

    assert (
        "the package of `orders`: `settings.json` contains the path of your project on this machine in line 2, which does not exist on "
        "Lambda; write a path that is relative to the file" == finding.message
    )
    assert ("build-machine-path", Severity.WARNING) == (finding.rule, finding.severity)
    assert [] == found(tmp_path, {"settings.json": f'"{tmp_path}2/data.csv" /srv{tmp_path}'})


def test_short_build_path(tmp_path: Path) -> None:
    """A path of one directory, such as that of a project in a container, is also that of routes and other machines."""
    from lamina.core.frozen import replace

    package = package_of(tmp_path, "orders", {"app.py": b"ROUTE = '/app/orders'"})

    assert [] == list(check(replace(inspection_of(tmp_path, packages=[package]), project=Path("/app"))))


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("import importlib.metadata\nimportlib.metadata.version('shop')", ["shop"]),
        ("from importlib import metadata\nVERSION = metadata.version('shop')", ["shop"]),
        ("from importlib.metadata import version as v\nv('shop')", ["shop"]),
        ("import importlib.metadata as m\nm.distribution('Requests')", []),
        ("import importlib.metadata as m\nm.version('boto3')", []),
        ("from importlib.metadata import version\nversion(__package__)", []),
        ("from importlib.metadata import version\ntry:\n    version('shop')\nexcept Exception:\n    pass", []),
        ("def version(name): ...\nversion('shop')  # metadata", []),
        ("metadata (", []),
    ],
)
def test_metadata(tmp_path: Path, code: str, names: list[str]) -> None:
    """Code that reads the metadata of what is not installed on Lambda fails there."""
    layer = layer_of(tmp_path, "common", {"requests": {"requests/__init__.py": b""}})

    findings = found(tmp_path, {"app.py": code}, [layer])

    assert [
        (
            "missing-metadata",
            (
                f"the package of `orders`: `app.py` reads the metadata of `{name}`, which is not in the layers, so `importlib.metadata` raises "
                "PackageNotFoundError; lock the distribution, or catch the error"
            ),
        )
        for name in names
    ] == [(finding.rule, finding.message) for finding in findings]


@pytest.mark.parametrize(
    ("mode", "readable"), [(0o600, False), (0o640, False), (0o644, True), (0o755, True), (0, True)]
)
def test_modes(tmp_path: Path, mode: int, readable: bool) -> None:
    """Lambda runs functions as another user than the owner of the files."""
    package = package_of(tmp_path, "orders", {"app.py": b""}, modes={"app.py": mode})

    findings = [finding.message for finding in check(inspection_of(tmp_path, packages=[package]))]

    message = (
        "the package of `orders`: only their owner can read `app.py`, but Lambda runs functions as another user; delete the output and "
        "build it again with `lamina build`"
    )
    assert ([] if readable else [message]) == findings


def test_modes_of_another_system(tmp_path: Path) -> None:
    """Only a zip that was made on Unix has modes of Unix."""
    package = package_of(tmp_path, "orders", {})
    member = zipfile.ZipInfo("app.py")
    member.create_system, member.external_attr = 0, 0o600 << 16
    with zipfile.ZipFile(package.path, "w") as archive:
        archive.writestr(member, b"")

    assert [] == list(check(inspection_of(tmp_path, packages=[package])))


@pytest.mark.parametrize(
    ("own", "theirs", "message"),
    [
        (
            "acme/tools/__init__.py",
            "acme/tools/more.py",
            (
                "the package of `orders`: `acme.tools` is a package in your code, so Python does not find the modules of `acme.tools` in layer `common`; "
                "delete one `__init__.py`, or rename your package"
            ),
        ),
        (
            "acme/tools/more.py",
            "acme/tools/__init__.py",
            (
                "the package of `orders`: `acme.tools` is a package in layer `common`, so Python does not find the modules of `acme.tools` in your code; "
                "rename your package"
            ),
        ),
        (
            "acme/tools/__init__.py",
            "acme/tools/__init__.py",
            (
                "the package of `orders`: `acme.tools` is a package in your code, so Python does not find the modules of `acme.tools` in layer `common`; "
                "rename your package"
            ),
        ),
        ("acme/tools/more.py", "acme/tools/other.py", None),
        ("acme/mine/__init__.py", "acme/theirs/__init__.py", None),
    ],
)
def test_split_namespace(tmp_path: Path, own: str, theirs: str, message: str | None) -> None:
    """A package of which one part is regular hides the other part."""
    layer = layer_of(tmp_path, "common", {"acme": {theirs: b""}})

    findings = found(tmp_path, {own: ""}, [layer])

    assert ([] if message is None else [("split-namespace", message)]) == [
        (finding.rule, finding.message) for finding in findings
    ]


@pytest.mark.parametrize(
    ("own", "theirs", "missing"),
    [
        (("__init__.py", "mine.py"), ("more.py",), "more"),
        (("mine.py",), ("__init__.py", "more.py"), "mine"),
        (("mine.py",), ("more.py",), None),
    ],
)
def test_python_agrees(tmp_path: Path, own: Sequence[str], theirs: Sequence[str], missing: str | None) -> None:
    """Python does not find the module that the finding is about, and finds the others."""
    for place, names in (("task", own), ("opt", theirs)):
        directory = tmp_path / place / "acme" / "tools"
        directory.mkdir(parents=True)
        for name in names:
            (directory / name).touch()
    code = (
        f"import sys; sys.path[:0] = {[str(tmp_path / 'task'), str(tmp_path / 'opt')]!r}\n"
        "from importlib.util import find_spec\n"
        "print([name for name in ('mine', 'more') if find_spec(f'acme.tools.{name}') is None])"
    )

    result = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)

    assert str([missing] if missing else []) == result.stdout.strip()


def test_merged_namespace(tmp_path: Path) -> None:
    """A package that extends its own path finds the modules of the other part."""
    layer = layer_of(tmp_path, "common", {"acme": {"acme/tools/more.py": b""}})
    code = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)"

    assert [] == found(tmp_path, {"acme/tools/__init__.py": code}, [layer])


def test_top_level_has_its_own_rules(tmp_path: Path) -> None:
    """The build itself reports packages that hide others at the top level."""
    layer = layer_of(tmp_path, "common", {"acme": {"acme/tools/more.py": b""}})

    assert [] == found(tmp_path, {"acme/__init__.py": "", "acme/tools/__init__.py": ""}, [layer])


def test_shared_module(tmp_path: Path) -> None:
    """A backport hides the module of the standard library; other modules do not."""
    files = {
        "dataclasses": {"dataclasses.py": b""},
        "uuid": {"uuid/__init__.py": b"", "uuid/json.py": b""},
        "six": {"six.py": b""},
    }

    findings = found(tmp_path, {}, [layer_of(tmp_path, "common", files)])

    assert [
        (
            "shared-module",
            (
                f"layer `common`: `{name}` contains `{name}`, which hides the standard library's; do not lock `{name}` for `python3.13`, "
                f'or set `without = ["{name}"]`'
            ),
        )
        for name in ("dataclasses", "uuid")
    ] == [(finding.rule, finding.message) for finding in findings]


def test_metadata_of_a_local_package(tmp_path: Path) -> None:
    """A package has the metadata of the local packages in it."""
    code = "import importlib.metadata\nimportlib.metadata.version('my-shop')"

    assert [] == found(tmp_path, {"app.py": code, "my_shop-1.0.dist-info/METADATA": ""})


def test_no_warnings(tmp_path: Path) -> None:
    """Code with a doubtful escape is parsed without a warning, which would fail this test."""
    assert [] == found(tmp_path, {"app.py": "import importlib.metadata\nPATTERN = '\\d'\n"})
