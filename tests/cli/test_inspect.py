"""``lamina inspect``: layers by ARN, functions with all their layers, and zips."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from audit.elves import make_elf
from audit.osvserver import GHSA, advisory, osv
from externallayers import ARN, OTHER, base64_sha256, layer_server, layer_zip
from lamina.cli.main import main
from loopback import IndexServer
from services import make_service
from wheels import make_wheel

if TYPE_CHECKING:
    from audit.osvserver import OsvServer
    from emulators import Emulator
    from externallayers import LayerServer

__all__ = ["layer_server", "osv"]

TOOLS = layer_zip(
    {
        "python/tools.py": "",
        "python/tools-1.2.dist-info/METADATA": "Name: tools\nVersion: 1.2\nLicense-Expression: MIT\n",
        "python/tools-1.2.dist-info/RECORD": "tools.py,,\n",
        "python/datadog_lambda/handler.py": "",
        "python/fast.abi3.so": make_elf(),
        "extensions/agent": "#!/bin/sh\n",
        "wrap": "#!/bin/sh\n",
    }
)
AGENT = layer_zip({"extensions/datadog-agent": b"\x7fELF", "python/tools.py": "other"})
NOT_ALLOWED = " because no identity-based policy allows the lambda:GetLayerVersion action"
NOT_SHARED = " because no resource-based policy allows the lambda:GetLayerVersion action"


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in a directory without a project, with an empty store."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def inspect(*words: str) -> int:
    return main(["inspect", "--no-match", *words])


def test_layer(layer_server: LayerServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A layer is read in the region of its ARN, once, and its content is listed."""
    layer_server.zips[ARN] = TOOLS
    layer_server.says = {"CompatibleRuntimes": ["python3.13", "nodejs24.x"], "CompatibleArchitectures": ["arm64"]}

    assert inspect(ARN) == 0

    assert [("eu-west-1", ARN)] == layer_server.asked
    shown = capsys.readouterr().out
    assert f"{ARN}\n" in shown
    assert re.search(r"tools +1\.2 +0\.1 kB +MIT\n", shown)
    assert "stated runtimes: python3.13, nodejs24.x; architectures: arm64\n" in shown
    assert "without metadata: 2 modules: `datadog_lambda.handler`, `fast`\n" in shown
    assert "binaries: 1 for x86_64\n" in shown
    assert "problem: python3.13 on arm64 cannot load `python/fast.abi3.so`: built for x86_64\n" in shown
    assert "extensions: `extensions/agent`\n" in shown
    assert "set `AWS_LAMBDA_EXEC_WRAPPER` to `/opt/wrap`\n" in shown
    assert "set the handler to `datadog_lambda.handler.handler`, and `DD_LAMBDA_HANDLER` to your own handler\n" in shown
    assert "Signature" not in shown

    assert inspect(ARN, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    (archive,) = document["archives"]
    assert [ARN] == layer_server.downloads
    assert (ARN, 7, ["tools"]) == (
        archive["arn"],
        archive["files"],
        [each["name"] for each in archive["distributions"]],
    )


def test_known_publisher(layer_server: LayerServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The name of a known publisher is shown."""
    arn = "arn:aws:lambda:eu-west-1:017000801446:layer:AWSLambdaPowertoolsPythonV3-python313-x86_64:7"
    layer_server.zips[arn] = TOOLS
    assert inspect(arn) == 0
    assert f"{arn} (Powertools for AWS Lambda (Python))\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("end", "message", "hint"),
    [
        (
            NOT_ALLOWED,
            "your role or user has no policy that allows `lambda:GetLayerVersion`",
            '"Action": "lambda:GetLayerVersion"',
        ),
        (
            NOT_SHARED,
            "the version was deleted, or its publisher does not share it with your account",
            "publisher's documentation",
        ),
        (
            "",
            "a policy forbids `lambda:GetLayerVersion` on it, or none allows it, or its publisher does not share",
            "check that a policy",
        ),
    ],
)
def test_denied(
    layer_server: LayerServer, capsys: pytest.CaptureFixture[str], end: str, message: str, hint: str
) -> None:
    """Of the denied requests that look alike, a missing policy of the caller is told apart, with the statement to add."""
    layer_server.denied[ARN] = end
    assert inspect(ARN) == 6
    shown = capsys.readouterr().err
    assert message in shown
    assert hint in shown


def test_deleted(layer_server: LayerServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A version that does not exist is one that was deleted or is not shared."""
    assert inspect(ARN) == 6
    assert [("eu-west-1", ARN)] == layer_server.asked
    assert "the version was deleted, or its publisher does not share it" in capsys.readouterr().err


@pytest.mark.parametrize("sent", [TOOLS[:-1], TOOLS + b"x", AGENT, b""])
def test_wrong_download(layer_server: LayerServer, capsys: pytest.CaptureFixture[str], sent: bytes) -> None:
    """A download with another size or hash than Lambda states is not read."""
    layer_server.zips[ARN], layer_server.sent[ARN] = TOOLS, sent
    assert inspect(ARN) == 6
    assert "does not match the size and SHA-256 that Lambda reports" in capsys.readouterr().err


def use_function(server: LayerServer, name: str = "orders", **more: Any) -> None:
    server.functions[name] = {
        "Runtime": "python3.13",
        "Handler": "main.handler",
        "Architectures": ["x86_64"],
        "Layers": [{"Arn": ARN}, {"Arn": OTHER}],
        "RevisionId": "1",
    } | more
    server.zips |= {name: layer_zip({"main.py": "", "tools.py": "mine"}), ARN: TOOLS, OTHER: AGENT}


def test_function(
    layer_server: LayerServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    """The layers and the code of a function are shown in order, each layer read in its region, with what hides what."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    variables = {"DD_LAMBDA_HANDLER": "main.real", "AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap", "TOKEN": "very-secret"}
    use_function(layer_server, Handler="datadog_lambda.handler.handler", Environment={"Variables": variables})

    assert inspect("orders") == 0

    shown = capsys.readouterr().out
    places = [shown.index(f"\n{name}") for name in (ARN, OTHER, "code of orders")]
    assert sorted(places) == places
    assert "handler: datadog_lambda.handler.handler of Datadog, which calls main.real\n" in shown
    assert "wrapper: /opt/wrap, in `AWS_LAMBDA_EXEC_WRAPPER`\n" in shown
    assert f"`tools` comes from `code of orders`, and hides that of `{OTHER}` and `{ARN}` (tools 1.2)\n" in shown
    assert "very-secret" not in shown
    assert [("eu-west-1", ARN), ("us-east-1", OTHER)] == layer_server.asked
    assert not [path for path in directory.rglob("*") if path.name == "code.zip"]

    assert inspect("orders", "--json") == 0
    text = capsys.readouterr().out
    assert "very-secret" not in text
    assert [ARN, OTHER, "code of orders"] == [each["name"] for each in json.loads(text)["archives"]]


def test_function_by_arn(layer_server: LayerServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A function's ARN names its region. A version is not part of the name."""
    arn = "arn:aws:lambda:ap-south-1:123456789012:function:orders"
    use_function(layer_server, arn, Layers=[], Version="3")
    assert inspect(f"{arn}:3") == 0
    assert f"function {arn}, version 3: python3.13 on x86_64\n" in capsys.readouterr().out


def test_function_with_a_layer_that_is_gone(
    layer_server: LayerServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function keeps running without access to its layer, so the rest is shown, and the exit code is that of the error."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    use_function(layer_server)
    del layer_server.zips[OTHER]
    assert inspect("orders") == 6
    captured = capsys.readouterr()
    assert "code of orders\n" in captured.out
    assert f"cannot read layer `{OTHER}`: the version was deleted" in captured.err

    assert inspect("orders", "--json") == 6
    assert [6] == [each["exit_code"] for each in json.loads(capsys.readouterr().out)["errors"]]


@pytest.mark.parametrize(
    ("subject", "code", "message"),
    [
        ("missing.zip", 2, "`missing.zip` does not exist"),
        ("dir/missing", 2, "`dir/missing` does not exist"),
        (".", 2, "`.` is a directory"),
        ("not a name!", 2, "is neither an ARN nor the name of a function nor a file"),
        ("arn:aws:lambda:eu-west-1:017000801446:layer:tools", 2, "names a layer, not one of its versions"),
        ("arn:aws:lambda:*:017000801446:layer:tools:1", 2, "is not the ARN of a layer version"),
        ("arn:aws:lambda:${AWS::Region}:017000801446:layer:tools", 2, "is not the ARN of a layer version"),
        ("arn:aws:s3:::bucket", 2, "is neither an ARN nor"),
        ("unknown-function", 6, "function `unknown-function` does not exist in this account and region"),
        ("orders:9", 6, "or it has no version or alias `9`"),
    ],
)
@pytest.mark.usefixtures("layer_server")
def test_what_cannot_be_inspected(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, subject: str, code: int, message: str
) -> None:
    """An argument that is not a layer version, function or file is named, with what to pass instead."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert inspect(subject) == code
    shown = capsys.readouterr().err
    assert message in shown
    assert "hint: " in shown


def test_container_image(
    layer_server: LayerServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container image has no zip."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    use_function(layer_server, PackageType="Image")
    assert inspect("orders") == 2
    assert "is a container image" in capsys.readouterr().err


def test_offline(layer_server: LayerServer, capsys: pytest.CaptureFixture[str], directory: Path) -> None:
    """Offline, a layer that the project has pinned is read from the store, and nothing is asked for."""
    service = make_service(directory / "project")
    service.more["hello"] = f'layer-arns = ["{ARN}"]'
    service.write()
    layer_server.zips[ARN] = TOOLS
    assert inspect(ARN, "--offline", "--project", str(service.root)) == 4
    assert main(["pin", "--project", str(service.root)]) == 0
    layer_server.asked.clear()

    assert inspect(ARN, "--offline", "--project", str(service.root)) == 0
    assert inspect("orders", "--offline") == 4
    assert inspect(ARN, "--offline") == 4
    assert layer_server.asked == []
    assert f"{ARN}\n" in capsys.readouterr().out


def test_what_the_lock_has_too(capsys: pytest.CaptureFixture[str], directory: Path) -> None:
    """In a project, distributions that the lock file has as well are named, with their version there."""
    service = make_service(directory / "project")
    service.add("alpha", "1.0")
    service.add("beta", "1.0")
    service.write()
    metadata = {
        f"python/{name}-1.dist-info/METADATA": f"Name: {name}\nVersion: {version}\n"
        for name, version in (("alpha", "1.0"), ("beta", "0.9"), ("gamma", "1"))
    }
    (directory / "layer.zip").write_bytes(layer_zip(metadata))

    assert inspect("layer.zip", "--project", str(service.root)) == 0

    shown = capsys.readouterr().out
    assert "in your lock in the same version: `alpha`\n" in shown
    assert "in your lock in another version: beta 1.0, here 0.9\n" in shown
    assert "gamma 1" not in shown


def test_unsafe_zip(capsys: pytest.CaptureFixture[str], directory: Path) -> None:
    """An unsafe zip is an error whose hint is about layers, not about wheels."""
    (directory / "layer.zip").write_bytes(layer_zip({"../up.py": ""}))
    assert inspect("layer.zip") == 5
    shown = capsys.readouterr().err
    assert "has a member whose path" in shown
    assert "wheel" not in shown


@pytest.mark.parametrize("content", [b"", b"[project]\n", TOOLS[:-30]])
def test_no_zip(capsys: pytest.CaptureFixture[str], directory: Path, content: bytes) -> None:
    """The hint for a file that is not a zip, or not a whole one, is to pass another file."""
    (directory / "pyproject.toml").write_bytes(content)
    assert inspect("pyproject.toml") == 5
    shown = capsys.readouterr().err
    assert "hint: pass a zip; if you downloaded this file as one, download it again" in shown


def test_forged_lines(
    layer_server: LayerServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No text of a publisher, a function or a zip starts a line of its own in the report."""
    forged = "\n  no known vulnerabilities\n::error::x\u2028y"
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    variables = {"DD_LAMBDA_HANDLER": f"a{forged}", "AWS_LAMBDA_EXEC_WRAPPER": f"b{forged}"}
    use_function(layer_server, Handler=f"main.handler{forged}", Environment={"Variables": variables})
    layer_server.zips[ARN] = layer_zip(
        {
            "python/a-1.dist-info/METADATA": f"Name: a\nVersion: 1\nLicense: MIT{forged}\n",
            "python/a-1.dist-info/RECORD": f'"b{forged}.py",,\n',
            "wrap": "#!/bin/sh\n",
        }
    )
    layer_server.says = {"LicenseInfo": f"MIT{forged}"}

    for subject in (ARN, "orders"):
        assert inspect(subject) == 0
        lines = capsys.readouterr().out.split("\n")
        assert [] == [line for line in lines if line.startswith(("  no known", "no known", "::")) or "\u2028" in line]
        assert any("MIT\\n  no known" in line for line in lines)


@pytest.mark.parametrize(
    "answer",
    [
        {"Layers": [{"Arn": "arn:aws:lambda:evil.com/x:123456789012:layer:l:1"}]},
        {"Layers": [{"Arn": "arn:aws:lambda:*:123456789012:layer:l:1"}]},
        {"Layers": [{"Arn": "arn:aws:lambda:eu-west-1:123456789012:layer:l"}]},
        {"Architectures": "arm64"},
    ],
)
def test_malformed_function(
    layer_server: LayerServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: dict[str, Any],
) -> None:
    """An answer that Lambda does not give is an error about the connection."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    use_function(layer_server, **answer)
    assert inspect("orders") == 6
    assert (
        "cannot read function `orders`: the response to the request to `lambda` is not from AWS"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://host/zip", "/etc/passwd", ""])
def test_malformed_address(layer_server: LayerServer, capsys: pytest.CaptureFixture[str], location: str) -> None:
    """A zip is downloaded from the address of a server only."""
    layer_server.zips[ARN] = TOOLS
    layer_server.says = {"Content": {"Location": location, "CodeSha256": base64_sha256(TOOLS), "CodeSize": len(TOOLS)}}
    assert inspect(ARN) == 6
    assert f"cannot download layer `{ARN}`: the address in the response is invalid" in capsys.readouterr().err


def test_similar_modules(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    """Modules that were changed are similar to a distribution, and not also without metadata."""
    (directory / "served").mkdir()
    with IndexServer(directory / "served") as server:
        monkeypatch.setenv("UV_DEFAULT_INDEX", server.simple)
        _check_similar(server, capsys, directory)


def _check_similar(server: IndexServer, capsys: pytest.CaptureFixture[str], directory: Path) -> None:
    make_wheel(server.directory, "pyyaml", "6.0", {"yaml/__init__.py": "A = 1\n", "yaml/b.py": ""})
    files = {"python/yaml/__init__.py": "A = 2\n", "python/yaml/b.py": "", "python/lost.py": ""}
    (directory / "layer.zip").write_bytes(layer_zip(files))

    assert main(["inspect", "layer.zip"]) == 0
    shown = capsys.readouterr().out
    assert "similar `yaml`: pyyaml 6.0: 1 file as in `pyyaml-6.0-py3-none-any.whl`, 1 changed, 0 added\n" in shown
    assert "without metadata: 1 module: `lost`\n" in shown

    assert main(["inspect", "layer.zip", "--json"]) == 0
    (archive,) = json.loads(capsys.readouterr().out)["archives"]
    assert ["lost"] == archive["modules_without_metadata"]


def test_hostile_names(capsys: pytest.CaptureFixture[str], directory: Path) -> None:
    """What a zip says controls no terminal."""
    metadata = "Name: a\nVersion: 1\nLicense: \x1b[31mred\x1b]0;title\x07\n"
    (directory / "layer.zip").write_bytes(layer_zip({"python/a-1.dist-info/METADATA": metadata}))
    assert inspect("layer.zip") == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--architecture", "arm64"], "`--architecture` requires `--runtime`"), (["--runtime", "python2.7"], "python2.7")],
)
def test_wrong_options(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    """The architecture alone is no target, and the runtime must be known."""
    assert inspect("layer.zip", *words) == 2
    assert message in capsys.readouterr().err


NAMES = ("alpha", "company-tools")


def with_metadata(root: str = "python/") -> bytes:
    """Return a zip with two distributions and a module without metadata."""
    metadata = {f"{root}{name}-1.0.dist-info/METADATA": f"Name: {name}\nVersion: 1.0\n" for name in NAMES}
    return layer_zip(metadata | {f"{root}lost.py": ""})


def sent(osv: OsvServer) -> set[str]:
    return {query["package"]["name"] for body in osv.asked("/v1/querybatch") for query in body["queries"]}


def test_vulnerabilities(osv: OsvServer, capsys: pytest.CaptureFixture[str], directory: Path) -> None:
    """With an audit, known vulnerabilities are shown, and the exit code is 1. Outside a project, nothing shows which names are public."""
    (directory / "layer.zip").write_bytes(with_metadata())
    osv.advisories = [advisory()]

    assert inspect("layer.zip", "--audit", "--osv", osv.url) == 0
    shown = capsys.readouterr().out
    reason = "in no lock file that says where it comes from; if it is public, pass `--all`"
    assert f"not auditable: `alpha 1.0`, `company-tools 1.0`: {reason}\n" in shown
    assert f"no distribution was audited (OSV at {osv.url})\n" in shown
    assert sent(osv) == set()

    assert inspect("layer.zip", "--audit", "--osv", osv.url, "--all") == 1
    shown = capsys.readouterr().out
    assert f"vulnerable: `alpha` 1.0 has {GHSA} (medium): Alpha vulnerable" in shown
    assert "1 known vulnerability in 2 distributions, by " in shown
    assert "not auditable: `layer.zip`: modules without metadata: `lost`\n" in shown
    assert sent(osv) == {*NAMES}
    assert inspect("layer.zip") == 0
    capsys.readouterr()
    assert inspect("layer.zip", "--osv", osv.url, "--all", "--json") == 1
    document = json.loads(capsys.readouterr().out)["audit"]
    assert [(GHSA, "medium", "alpha", "1.0")] == [
        (each["id"], each["severity"], each["name"], each["version"]) for each in document["vulnerabilities"]
    ]
    assert [{"subject": "layer.zip", "reason": "modules without metadata: `lost`"}] == document["not_auditable"]
    osv.advisories = []
    assert inspect("layer.zip", "--osv", osv.url, "--all") == 0
    assert "no known vulnerabilities in 2 distributions, by " in capsys.readouterr().out
    assert inspect("layer.zip", "--audit", "--offline") == 4


def test_vulnerabilities_in_a_project(osv: OsvServer, capsys: pytest.CaptureFixture[str], directory: Path) -> None:
    """The project decides which database is asked about which names, and which vulnerabilities fail the audit."""
    root = make_service(directory, base_url="https://127.0.0.1/files").write()
    (directory / "layer.zip").write_bytes(with_metadata())
    osv.advisories = [advisory()]
    words = ("layer.zip", "--audit", "--project", str(root), "--no-match")
    project = (root / "pyproject.toml").read_text()

    def configured(*lines: str) -> int:
        settings = "\n".join(["[tool.lamina.audit]", f'osv = "{osv.url}"', *lines])
        (root / "pyproject.toml").write_text(f"{project}\n{settings}\n")
        capsys.readouterr()
        return inspect(*words)

    assert configured() == 1
    assert sent(osv) == {"alpha"}
    assert "not auditable: `company-tools 1.0`: in no lock file" in capsys.readouterr().out
    assert configured('severity = "high"') == 0
    assert f"`alpha` 1.0 has {GHSA}" in capsys.readouterr().out
    assert configured(f'ignore = [{{ id = "{GHSA}", reason = "not used", until = 2999-12-31 }}]') == 0
    assert f"accepted until 2999-12-31 (not used): `alpha` 1.0 has {GHSA}" in capsys.readouterr().out
    assert configured('advisories = "none"') == 0
    assert "no distribution was audited (no database)\n" in capsys.readouterr().out
    (root / "pylock.toml").unlink()
    osv.requests.clear()
    assert configured() == 0
    assert "not auditable: `alpha 1.0`, `company-tools 1.0`: in no lock file" in capsys.readouterr().out
    assert sent(osv) == set()


def test_provenance(capsys: pytest.CaptureFixture[str], directory: Path) -> None:
    """The statement next to a zip is compared with it."""
    service = make_service(directory / "project")
    service.add("alpha", "1.0")
    service.write()
    assert main(["build", "--project", str(service.root), "-q"]) == 0
    layer = service.root / ".lamina" / "layers" / "common.zip"
    capsys.readouterr()

    assert inspect(str(layer)) == 0
    assert "  provenance: built by lamina " in capsys.readouterr().out

    layer.write_bytes(TOOLS)
    assert inspect(str(layer), "--json") == 1
    captured = capsys.readouterr()
    (archive,) = json.loads(captured.out)["archives"]
    assert not archive["provenance"]["verified"]
    assert "describes another file" in archive["provenance"]["problem"]
    assert f"error: the statement next to `{layer}` does not prove where it comes from\n" in captured.err

    assert inspect(str(layer)) == 1
    assert "  provenance: not verified: `common.zip.intoto.json` describes another file" in capsys.readouterr().out


PAGE = Path(__file__).parents[2] / "docs" / "reference" / "inspect-report.md"


def documented() -> dict[str, list[str]]:
    """Return the fields in the tables of the page about the report, by heading."""
    sections = re.findall(r"(?ms)^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"))
    return {
        heading: [name for cell in re.findall(r"(?m)^\| (`.*?`) \|", text) for name in cell.strip("`").split("`, `")]
        for heading, text in sections
    }


def test_every_field_of_the_report_is_documented(
    layer_server: LayerServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    """`inspect-report.md` lists exactly the fields of the report, in the report's order."""
    service = make_service(directory / "project")
    service.add("alpha", "1.0")
    assert main(["build", "--project", str(service.write()), "-q"]) == 0
    capsys.readouterr()
    assert inspect(str(service.root / ".lamina/layers/common.zip"), "--json", "--project", str(service.root)) == 0
    (built,) = json.loads(capsys.readouterr().out)["archives"]
    assert [{"name": "alpha", "version": "1.0", "locked": "1.0"}] == built["in_lock"][:1]
    (directory / "served").mkdir()
    use_function(layer_server)
    layer_server.zips[ARN] = layer_zip({"python/yaml/__init__.py": "A = 2\n", "python/tools.py": ""})
    layer_server.zips[OTHER] = TOOLS
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    with IndexServer(directory / "served") as server:
        monkeypatch.setenv("UV_DEFAULT_INDEX", server.simple)
        make_wheel(server.directory, "pyyaml", "6.0", {"yaml/__init__.py": "A = 2\n"})
        assert main(["inspect", "orders", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)

    assert documented() == {
        "Report": [*document],
        "Function": [*document["function"]],
        "Zip": [*built],
        "Distribution": [*built["distributions"][0]],
        "Distribution without metadata": [*document["archives"][0]["identified"][0]],
        "Shadowed module": [*document["shadowed"][0]],
        "Provenance": [*built["provenance"]],
        "Statement": [*built["provenance"]["statement"]],
    }
    assert f'the format: `"{document["version"]}"`' in PAGE.read_text("utf-8")


def test_two_accounts(ministack: Emulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """In an emulated AWS, the account of a layer reads it alone and in a function; another account is denied, with all reasons."""
    publisher, other = "000000008101", "000000008102"
    publishing = ministack.client("lambda", account=publisher)
    layer = publishing.publish_layer_version(LayerName="tools", Content={"ZipFile": TOOLS})["LayerVersionArn"]
    publishing.create_function(
        FunctionName="orders",
        Role=f"arn:aws:iam::{publisher}:role/any",
        Runtime="python3.13",
        Handler="main.handler",
        Code={"ZipFile": layer_zip({"main.py": "", "tools.py": ""})},
        Layers=[layer],
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", publisher)
    assert inspect(layer) == 0
    assert inspect("orders") == 0
    assert f"`tools` comes from `code of orders`, and hides that of `{layer}` (tools 1.2)\n" in capsys.readouterr().out

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", other)
    assert inspect(layer) == 6
    assert inspect("orders") == 6
    shown = capsys.readouterr().err
    assert f"AWS denied permission to read layer `{layer}`" in shown
    assert "function `orders` does not exist in this account and region" in shown
