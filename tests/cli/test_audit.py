"""`lamina audit`: its six outcomes with an OSV on loopback, what it sends, licences, SBOMs and deployed versions."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import sys
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from audit.osvserver import CVE, GHSA, advisory, of_pypa, osv
from audit.test_vulnerabilities import SCANNED, aws, write_zip
from externallayers import layer_zip
from lamina.audit.vulnerabilities import databases
from lamina.bytecode.interpreter import environment_variable
from lamina.cli.main import main
from lamina.fetch.http import Client
from loopback import IndexServer
from services import make_service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from audit.osvserver import OsvServer
    from emulators import Emulator
    from services import Service

__all__ = ["aws", "osv"]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[IndexServer]:
    with IndexServer(tmp_path / "wheels") as server:
        yield server


@pytest.fixture
def service(tmp_path: Path, index: IndexServer, osv: OsvServer, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Return a service whose wheels are from the default index, and which asks the OSV on loopback."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.simple)
    monkeypatch.chdir(tmp_path)
    service = make_service(tmp_path, base_url=f"{index.url}/files")
    service.write()
    return service


def configure(service: Service, *lines: str) -> None:
    """Add *lines* to the settings of the audit."""
    path = service.write() / "pyproject.toml"
    path.write_text(path.read_text() + "\n".join(("[tool.lamina.audit]", *lines, "")))


def audit(service: Service, osv: OsvServer | None, *words: str) -> int:
    """Run the command, with *osv* if it is given, and return the exit code."""
    return main(["audit", "--project", str(service.root), *(["--osv", osv.url] if osv else []), *words])


def report(service: Service, osv: OsvServer | None, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    """Return the exit code and the JSON report of an audit."""
    capsys.readouterr()
    code = audit(service, osv, "--json", *words)
    return code, json.loads(capsys.readouterr().out)


def ignore(until: str) -> str:
    return f'ignore = [{{ id = "{CVE}", reason = "we escape the keys", until = {until} }}]'


def test_vulnerable(service: Service, osv: OsvServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A vulnerability fails the audit, with all that the advisory says of it."""
    osv.advisories = [advisory()]

    assert audit(service, osv) == 1

    text = capsys.readouterr().out
    assert (
        f"`alpha` 1.0 has {GHSA} (medium): Alpha vulnerable to HTML attribute injection; fixed in 1.1; in `common`"
        in text
    )
    assert "about 2 of 2 distributions" in text


def test_clean(service: Service, osv: OsvServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Without advisories, the audit succeeds."""
    code, document = report(service, osv, capsys)

    assert (0, [], 2) == (code, document["findings"], document["services"][0]["asked"])


def test_withdrawn(service: Service, osv: OsvServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A withdrawn advisory is none."""
    osv.advisories = [advisory(withdrawn="2026-03-01T00:00:00Z")]

    code, document = report(service, osv, capsys)

    assert (0, []) == (code, document["services"][0]["vulnerabilities"])


def test_ignored(service: Service, osv: OsvServer, capsys: pytest.CaptureFixture[str]) -> None:
    """An accepted vulnerability, named by one of its aliases, does not fail the audit, and is reported as ignored."""
    osv.advisories = [advisory()]
    configure(service, ignore("2999-12-31"))

    code, document = report(service, osv, capsys)

    assert (0, []) == (code, document["findings"])
    (hidden,) = document["ignored"]
    assert ("vulnerability", "we escape the keys", "2999-12-31") == (hidden["rule"], hidden["reason"], hidden["until"])
    (found,) = document["services"][0]["vulnerabilities"]
    assert (True, False) == (found["ignored"], found["fails"])
    lines = (service.root / "pyproject.toml").read_text().splitlines()
    assert CVE in lines[hidden["line"] - 1]


@pytest.mark.parametrize("name", ["text", "markdown"])
def test_what_is_accepted_is_shown(
    service: Service, osv: OsvServer, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Reports for people name what is accepted, why and until when, also on the terminal."""
    osv.advisories = [advisory()]
    configure(service, ignore("2999-12-31"))

    assert audit(service, osv, "--format", name, "--output", "report") == 0

    shown = (service.root.parent / "report").read_text()
    assert "accepted" in shown.replace("accepted until", "")
    assert GHSA in shown
    assert "accepted until 2999-12-31 (we escape the keys)" in shown
    assert audit(service, osv) == 0
    shown = capsys.readouterr().out
    assert "accepted: " in shown
    assert "accepted until 2999-12-31 (we escape the keys)" in shown


@pytest.mark.parametrize("days", [-1, 0])
def test_the_last_day(
    service: Service, osv: OsvServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """A vulnerability is accepted on the last day. Of several entries, the valid one counts and is shown."""
    osv.advisories = [advisory()]
    today = dt.datetime.now(tz=dt.UTC).date()
    entries = (
        f'{{ id = "{GHSA}", reason = "before", until = {today - dt.timedelta(days=9)} }}',
        f'{{ id = "{CVE}", reason = "now", until = {today + dt.timedelta(days=days)} }}',
    )
    configure(service, f"ignore = [{', '.join(entries)}]")

    code, document = report(service, osv, capsys)

    (found,) = document["services"][0]["vulnerabilities"]
    assert (0, "now") == (code, found["reason"]) if days == 0 else (1, "before") == (code, found["reason"])


def test_expired(service: Service, osv: OsvServer, capsys: pytest.CaptureFixture[str]) -> None:
    """After the last day, the vulnerability fails the audit again, and the report says why."""
    osv.advisories = [advisory()]
    configure(service, ignore("2026-01-31"))

    code, document = report(service, osv, capsys)

    (finding,) = document["findings"]
    assert (1, "error") == (code, finding["severity"])
    assert CVE in (service.root / "pyproject.toml").read_text().splitlines()[finding["line"] - 1]
    assert "`ignore` accepted it until 2026-01-31 (we escape the keys)" in finding["message"]


def test_unreachable(
    service: Service, osv: OsvServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that cannot be asked is an error of the download, and no clean result."""
    monkeypatch.setattr(databases, "Client", partial(Client, backoff=0))
    osv.raw["/v1/querybatch"] = 503, b""
    assert audit(service, osv) == 4
    osv.server_close()
    assert audit(service, osv) == 4
    text = capsys.readouterr().err
    assert "the server returned HTTP 503" in text
    assert "could not connect to the server" in text
    assert text.count("run `lamina audit --osv FILE`") == 2
    assert audit(service, None, "--offline") == 4
    assert "`--offline` prevents asking a database of advisories" in capsys.readouterr().err


def test_an_entry_that_is_not_needed(
    service: Service, osv: OsvServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry of `ignore` without a vulnerability is a warning, but only if the database was asked about every distribution."""
    configure(service, ignore("2026-01-31"))

    code, document = report(service, osv, capsys)

    (finding,) = document["findings"]
    assert (0, "unused-advisory", "warning") == (code, finding["rule"], finding["severity"])
    assert CVE in (service.root / "pyproject.toml").read_text().splitlines()[finding["line"] - 1]
    assert report(service, None, capsys, "--advisories", "none")[1]["findings"] == []
    monkeypatch.setenv("UV_INDEX", "https://127.0.0.1/other")
    rules = [each["rule"] for each in report(service, osv, capsys)[1]["findings"]]
    assert {"not-auditable"} == {*rules}


def test_nothing_to_ask(
    service: Service, osv: OsvServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If no distribution is auditable, that is a warning with the cure, and a database that does not exist is an error nevertheless."""
    monkeypatch.setenv("UV_INDEX", "https://127.0.0.1/other")

    code, document = report(service, osv, capsys)

    severities = {each["severity"]: each["message"] for each in document["findings"]}
    assert (0, ["warning", "note"]) == (code, [*severities])
    assert "none of 2 distributions is auditable" == severities["warning"]
    assert "if it is public, pass `--all`" in severities["note"]
    assert audit(service, None, "--offline", "--osv", "missing.zip") == 2


@pytest.mark.parametrize(
    ("words", "setting", "severity"),
    [
        ((), "high", "warning"),
        ((), "medium", "error"),
        (("--severity", "critical"), "low", "warning"),
        (("--severity", "low"), "high", "error"),
    ],
)
def test_the_gate(service: Service, osv: OsvServer, words: tuple[str, ...], setting: str, severity: str) -> None:
    """A vulnerability below the gate is a warning. The option has precedence over the configuration."""
    osv.advisories = [advisory()]
    configure(service, f'severity = "{setting}"')

    assert audit(service, osv, *words, "--format", "text", "--output", "report.txt") == int(severity == "error")
    assert (service.root.parent / "report.txt").read_text().startswith(severity)


def test_unknown_reach_fails(service: Service, osv: OsvServer) -> None:
    """Accepting code that no handler imports accepts no advisory that names no code."""
    osv.advisories = [advisory()]
    configure(service, 'unreached = "warning"')

    assert audit(service, osv) == 1


def test_unknown_severities_fail(service: Service, osv: OsvServer) -> None:
    """No gate lets a vulnerability pass of unknown severity."""
    osv.advisories = [advisory(database_specific={}, severity=[])]

    assert audit(service, osv, "--severity", "critical") == 1


def test_the_zip(service: Service, osv: OsvServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With OSV's zip, nothing is sent; its path in the configuration is relative to the project."""
    assert audit(service, osv) == 0
    sent = len(osv.requests)
    write_zip(tmp_path / "all.zip", advisory())

    assert audit(service, None, "--offline", "--osv", "all.zip") == 1
    configure(service, 'osv = "../all.zip"')
    assert audit(service, None, "--offline") == 1
    assert sent == len(osv.requests)
    assert "all.zip` about 2 of 2 distributions" in capsys.readouterr().out


def test_names_that_are_not_sent(
    service: Service,
    osv: OsvServer,
    index: IndexServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is not from the default index is not auditable, and its name is sent only on request."""
    lock = service.root / "pylock.toml"
    text = lock.read_text()
    lock.write_text(text.replace('name = "beta"\n', 'name = "beta"\nindex = "https://user:secret@127.0.0.1/simple"\n'))

    code, document = report(service, osv, capsys)

    (state,) = document["services"][0]["not_auditable"]
    assert (0, "beta 2.0") == (code, state["subject"])
    assert "which is not the default one" in state["reason"]
    assert "secret" not in state["reason"]
    assert [finding["rule"] for finding in document["findings"]] == ["not-auditable"]
    assert sent(osv) == {"alpha"}
    assert report(service, osv, capsys, "--all")[1]["services"][0]["not_auditable"] == []
    assert sent(osv) == {"alpha", "beta"}

    lock.write_text(text)
    osv.requests.clear()
    monkeypatch.setenv("UV_INDEX", f"{index.url}/other")
    states = report(service, osv, capsys)[1]["services"][0]["not_auditable"]
    assert ["alpha 1.0", "beta 2.0"] == [each["subject"] for each in states]
    assert sent(osv) == set()


def sent(osv: OsvServer) -> set[str]:
    return {query["package"]["name"] for body in osv.asked("/v1/querybatch") for query in body["queries"]}


def test_local_files_are_not_auditable(
    tmp_path: Path, service: Service, osv: OsvServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wheel by its path is not from an index."""
    service.base_url = None
    service.write()

    states = report(service, osv, capsys)[1]["services"][0]["not_auditable"]

    assert {"from a URL or a file, and not from an index"} == {each["reason"] for each in states}
    assert osv.requests == []


@pytest.fixture
def following(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Return the service with bytecode of the modules that its handler can import."""
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    monkeypatch.setenv(environment_variable(sys.version_info[:2]), sys.executable)
    service.requires_python = f">={minor}"
    service.settings |= {"runtime": f'"python{minor}"', "bytecode": '"reachable"'}
    service.add("alpha", "1.0", {"alpha/__init__.py": "", "alpha/deep.py": "def weak(): pass\n"})
    service.write()
    return service


@pytest.mark.parametrize(("source", "reached"), [("import alpha.deep", True), ("import alpha", False)])
def test_reached_code(
    following: Service, osv: OsvServer, capsys: pytest.CaptureFixture[str], source: str, reached: bool
) -> None:
    """If the advisory names the vulnerable modules, the report says whether a handler can import them."""
    handler = following.root / "service/handlers/hello.py"
    handler.write_text(f"{source}\ndef lambda_handler(event, context): pass\n")
    (affected,) = of_pypa()["affected"]
    imports = {"imports": [{"attribute": "weak", "modules": ["alpha.deep"]}]}
    osv.advisories = [of_pypa(affected=[affected | {"ecosystem_specific": imports}])]

    code, document = report(following, osv, capsys)

    (found,) = document["services"][0]["vulnerabilities"]
    assert (1, reached, ["alpha.deep.weak"]) == (code, found["reached"], found["imports"])
    words = "handlers can import the vulnerable code" if reached else "no handler imports the vulnerable code"
    assert words in document["findings"][0]["message"]
    configure(following, 'unreached = "warning"')
    handler.write_text(f"{source}\ndef lambda_handler(event, context): pass\n")
    code, document = report(following, osv, capsys)
    assert (int(reached), "error" if reached else "warning") == (code, document["findings"][0]["severity"])


def test_licences(service: Service, osv: OsvServer, capsys: pytest.CaptureFixture[str]) -> None:
    """A licence that is not allowed, or unknown, fails the audit, unless the finding is hidden with a reason."""
    service.settings["ignore"] = '[{ rule = "licence", path = "beta", reason = "ours" }]'
    configure(service, 'licences = ["mit"]')

    code, document = report(service, None, capsys, "--advisories", "none")

    assert (1, ["licence"]) == (code, [each["rule"] for each in document["findings"]])
    assert "the licence of `alpha` 1.0 is unknown: its metadata names none" in document["findings"][0]["message"]
    assert [each["rule"] for each in document["ignored"]] == ["licence"]
    assert osv.requests == []

    service.settings["ignore"] = '[{ rule = "licence", path = "beta", reason = "ours", until = 2026-01-31 }]'
    configure(service, 'licences = ["mit"]')
    assert len(report(service, None, capsys, "--advisories", "none")[1]["findings"]) == 2
    assert main(["check", "--project", str(service.root)]) == 0
    assert "`ignore`" not in "".join(capsys.readouterr())


def test_licences_that_do_not_exist(service: Service, osv: OsvServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Mistakes in the settings are listed together."""
    configure(service, 'licences = ["nonsense"]', 'ignore = [{ id = "CVE-1" }]', 'severity = "bad"')

    assert audit(service, osv) == 2

    text = capsys.readouterr().err
    assert "tool.lamina.audit.licences: `nonsense` is not an SPDX licence expression" in text
    assert "reason: required, but missing or empty" in text
    assert "tool.lamina.audit.severity" in text


def test_sboms(service: Service, osv: OsvServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One SBOM of the service, or one of each zip; the same bytes each time."""
    words = ("--advisories", "none", "--sbom")
    audit(service, None, *words, "a.json")
    audit(service, None, *words, "b.json")
    capsys.readouterr()
    audit(service, None, *words, "-")
    assert capsys.readouterr().out == (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()
    assert [0, 0, 0] == [
        audit(service, None, *words, name) for name in ("{name}.cdx.json", "{name}.cdx.json", "b.json")
    ]

    assert json.loads((tmp_path / "a.json").read_text())["metadata"]["component"]["name"] == "greeter"
    names = {path.name for path in tmp_path.glob("*.cdx.json")}
    assert names == {"common.cdx.json", "hello.cdx.json"}
    layer = json.loads((tmp_path / "common.cdx.json").read_text())
    assert [each["name"] for each in layer["components"]] == ["alpha", "beta"]


def test_sboms_of_the_same_name(service: Service, osv: OsvServer, tmp_path: Path) -> None:
    """A layer and a function of the same name get an SBOM each."""
    service.functions = {"common": "service.handlers.hello.lambda_handler"}
    service.write()

    assert audit(service, None, "--advisories", "none", "--sbom", "{name}.cdx.json") == 0

    names = {path.name: json.loads(path.read_text())["metadata"]["component"] for path in tmp_path.glob("*.cdx.json")}
    assert {"layer-common.cdx.json", "function-common.cdx.json"} == {*names}
    assert {"common"} == {each["name"] for each in names.values()}


@pytest.mark.parametrize(
    "words",
    [
        ("--deployed", "--sbom", "x"),
        ("--deployed", "--offline"),
        ("--sbom", "-", "--json"),
        ("--advisories", "index"),
        ("--no-build", "--runtime", "python3.12"),
        ("--osv", "ftp://127.0.0.1/"),
        ("--osv", "missing.zip"),
    ],
    ids=" ".join,
)
def test_options_that_do_not_fit(service: Service, osv: OsvServer, words: tuple[str, ...]) -> None:
    """Options that exclude each other, and addresses that cannot be asked, are mistakes of usage."""
    assert audit(service, osv, *words) == 2


@pytest.mark.parametrize("name", ["markdown", "github", "sarif", "text"])
def test_formats(service: Service, osv: OsvServer, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """The report has the formats of `lamina check`, under the name of this command."""
    osv.advisories = [advisory()]

    assert audit(service, osv, "--format", name, "--output", f"report.{name}") == 1

    content = (service.root.parent / f"report.{name}").read_text()
    assert GHSA in content
    starts = {"markdown": "## lamina audit", "github": "::error ", "sarif": "{", "text": "error: "}
    assert content.startswith(starts[name])
    assert audit(service, osv, "--format", name, "--output", f"report.{name}") == 1
    assert name == "sarif" or "lamina check" not in content


def test_credentials_stay(
    service: Service,
    osv: OsvServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    index: IndexServer,
) -> None:
    """The credentials of an index are not sent to OSV, and those in the address of a mirror are not shown."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.simple.replace("//", "//user:hidden-one@"))
    assert audit(service, osv) == 0
    assert {credentials for _, _, credentials in osv.requests} == {None}
    osv.requests.clear()

    assert audit(service, osv, "--osv", osv.url.replace("//", "//user:hidden-two@")) == 0

    assert None not in {credentials for _, _, credentials in osv.requests}
    shown = capsys.readouterr()
    assert "hidden" not in shown.out + shown.err


def test_inspector(service: Service, aws: OsvServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Inspector can judge the distributions, too."""
    aws.aws["/scan/sbom"] = SCANNED

    assert audit(service, None, "--advisories", "inspector") == 1
    assert f"`alpha` 1.0 has {CVE} (medium)" in capsys.readouterr().out


def status(value: str) -> dict[str, Any]:
    return {"accounts": [{"accountId": "123456789012", "resourceState": {"lambda": {"status": value}}, "state": {}}]}


def finding(function: str, layer: str | None) -> dict[str, Any]:
    """Return a finding as Inspector lists it."""
    package = {"name": "alpha", "version": "1.0", "packageManager": "PYTHONPKG", "fixedInVersion": "1.1"}
    return {
        "type": "PACKAGE_VULNERABILITY",
        "severity": "HIGH",
        "status": "ACTIVE",
        "findingArn": "arn:aws:inspector2:eu-west-1:123456789012:finding/0",
        "packageVulnerabilityDetails": {
            "vulnerabilityId": CVE,
            "vulnerablePackages": [package | ({"sourceLambdaLayerArn": layer} if layer else {})],
        },
        "resources": [
            {"type": "AWS_LAMBDA_FUNCTION", "id": "x", "details": {"awsLambdaFunction": {"functionName": function}}}
        ],
    }


def test_what_inspector_found(service: Service, aws: OsvServer, capsys: pytest.CaptureFixture[str]) -> None:
    """`lamina check --aws` says whether Inspector scans functions, and what it found in those of the service and in which layer."""
    layer = "arn:aws:lambda:eu-west-1:123456789012:layer:greeter-common:3"
    words = ["check", "--project", str(service.root), "--aws"]
    aws.aws["/status/batch/get"] = status("DISABLED")
    assert main(words) == 0
    assert "Amazon Inspector does not scan the Lambda functions in eu-west-1" in capsys.readouterr().out
    aws.aws["/status/batch/get"] = status("ENABLED")
    rows = [finding("greeter-hello", layer), finding("greeter-hello", None), finding("other", layer)]
    aws.aws["/findings/list"] = {"findings": rows}

    assert main([*words, "--fail-on", "warning"]) == 1

    text = capsys.readouterr().out
    assert text.count("[inspector-finding]") == 2
    assert f"found {CVE} (high) in `alpha` 1.0 of function `greeter-hello`: in layer `{layer}`, fixed in 1.1" in text
    assert "in its own code" in text


@pytest.mark.parametrize("path", ["/status/batch/get", "/findings/list"])
@pytest.mark.parametrize(
    "answer",
    [
        (403, {"__type": "AccessDeniedException", "message": "not allowed"}, "AWS denied permission to "),
        (400, {}, "cannot "),
        (404, {}, "cannot "),
        (200, [1], "is not from AWS"),
    ],
    ids=["denied", "emulator", "region", "malformed"],
)
def test_inspector_need_not_answer(
    service: Service, aws: OsvServer, capsys: pytest.CaptureFixture[str], path: str, answer: tuple[int, Any, str]
) -> None:
    """A note says why Inspector could not be asked, and the rest of the check goes on."""
    service.settings["ignore"] = '[{ rule = "nonsense", reason = "a finding of another family" }]'
    service.write()
    aws.aws["/status/batch/get"] = status("ENABLED")
    aws.raw[path] = answer[0], json.dumps(answer[1]).encode()

    assert main(["check", "--project", str(service.root), "--aws"]) == 0

    text = capsys.readouterr().out
    (line,) = [each for each in text.splitlines() if "[inspector-off]" in each]
    assert "note: " in line
    assert "Amazon Inspector could not be asked: " in line
    assert answer[2] in line
    if answer[0] == 403:
        assert ("`inspector2:ListFindings`" if "list" in path else "`inspector2:BatchGetAccountStatus`") in line
    assert "[ignore-unknown]" in text


def test_inspector_without_a_server(service: Service, aws: OsvServer, capsys: pytest.CaptureFixture[str]) -> None:
    """An unreachable Inspector is a note, too."""
    aws.shutdown()
    aws.server_close()

    assert main(["check", "--project", str(service.root), "--aws"]) == 0
    assert "Amazon Inspector could not be asked: " in capsys.readouterr().out


@pytest.mark.parametrize("has_record", [True, False], ids=["record", "download"])
def test_deployed(
    service: Service, osv: OsvServer, ministack: Emulator, capsys: pytest.CaptureFixture[str], has_record: bool
) -> None:
    """The layer versions that functions use now are audited, and not what would be built."""
    name = f"s{uuid.uuid4().hex[:10]}"
    bucket = f'bucket = "{ministack.make_bucket(name)}"\n' if has_record else ""
    tables = f'[tool.lamina.publish]\nlayer-name = "{name}-{{layer}}"\n{bucket}[tool.lamina.deploy]\nfunction-name = "{name}-{{function}}"\n'
    write_with(service, tables)
    role = "arn:aws:iam::000000000000:role/service"
    assert main(["deploy", "--project", str(service.root), "--create", "--role", role]) == 0
    service.add("alpha", "1.1", {"alpha/__init__.py": ""})
    write_with(service, tables)
    osv.advisories = [advisory()]
    assert audit(service, osv) == 0

    code, document = report(service, osv, capsys, "--deployed")

    (found,) = document["services"][0]["vulnerabilities"]
    assert {"subject": f"{name}-hello", "reason": "the code of a deployed function"} in document["services"][0][
        "not_auditable"
    ]
    assert (1, "alpha", "1.0", None) == (code, found["name"], found["version"], found["reached"])
    assert [f"{name}-common:1"] == [arn.partition(":layer:")[2] for arn in found["in"]]
    assert {"alpha", "beta"} == {each["name"] for each in document["services"][0]["distributions"]}


def test_functions_that_are_not_deployed(
    service: Service, osv: OsvServer, ministack: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """A function that is not there is a warning; if none is there, nothing was audited. Entries of `ignore` are not judged."""
    name = f"s{uuid.uuid4().hex[:10]}"
    tables = (
        f'[tool.lamina.publish]\nlayer-name = "{name}-{{layer}}"\n[tool.lamina.deploy]\nfunction-name = "{name}-{{function}}"\n'
        f"[tool.lamina.audit]\n{ignore('2999-12-31')}\n"
    )
    write_with(service, tables)
    assert audit(service, osv, "--deployed") == 6
    assert "no function of `greeter` is deployed" in capsys.readouterr().err
    role = "arn:aws:iam::000000000000:role/service"
    assert main(["deploy", "--project", str(service.root), "--create", "--role", role]) == 0
    service.functions["later"] = service.functions["hello"]
    write_with(service, tables)

    code, document = report(service, osv, capsys, "--deployed")

    (finding,) = (each for each in document["findings"] if each["severity"] != "note")
    assert (0, "not-deployed", "warning") == (code, finding["rule"], finding["severity"])
    assert "function `later` is not deployed in 000000000000 in " in finding["message"]

    functions = ministack.client("lambda")
    content = layer_zip(
        {"python/stripped.py": "", "python/alpha-1.0.dist-info/METADATA": "Name: alpha\nVersion: 1.0\n"}
    )
    arn = functions.publish_layer_version(LayerName=f"{name}-other", Content={"ZipFile": content})["LayerVersionArn"]
    for alias in functions.list_aliases(FunctionName=f"{name}-hello")["Aliases"]:
        functions.delete_alias(FunctionName=f"{name}-hello", Name=alias["Name"])
    functions.update_function_configuration(FunctionName=f"{name}-hello", Layers=[arn])
    osv.advisories = [advisory()]

    code, document = report(service, osv, capsys, "--deployed")

    (audited,) = document["services"]
    assert (0, [[arn]]) == (code, [each["in"] for each in audited["vulnerabilities"]])
    assert {"subject": arn, "reason": "modules without metadata: `stripped`"} in audited["not_auditable"]
    assert [None] == [each["license"] for each in audited["distributions"]]


def write_with(service: Service, tables: str) -> None:
    path = service.write() / "pyproject.toml"
    path.write_text(path.read_text() + tables)


def test_a_workspace(service: Service, osv: OsvServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All services are audited, and one that cannot be audited does not hide what the others have."""
    osv.advisories = [advisory()]
    (tmp_path / "lamina.toml").write_text('[workspace]\nmembers = ["greeter", "broken"]\n')
    shutil.copytree(service.root, tmp_path / "broken")
    with (tmp_path / "broken" / "pyproject.toml").open("a") as file:
        file.write('[tool.lamina.audit]\nseverity = "bad"\n')
    words = ["audit", "--project", str(tmp_path), "--osv", osv.url]

    assert main([*words, "--json"]) == 2

    shown = capsys.readouterr()
    services = {each["project"]: each for each in json.loads(shown.out)["services"]}
    assert "severity" in services["broken"]["error"]["message"]
    assert [each["id"] for each in services["greeter"]["vulnerabilities"]] == [GHSA]
    assert "1 service not checked" in shown.err
    assert main([*words, "--sbom", "x.json"]) == 2
    assert not (tmp_path / "x.json").exists()
