"""`lamina check`: builds, findings, formats and exit codes of the whole command."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from lamina.cli.main import main
from lamina.core.store import Store
from lamina.core.values import Finding, Severity
from lamina.pipeline import build as pipeline
from lamina.pipeline.checks.rules import rules
from services import Service, make_service

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Check = Callable[..., tuple[int, str, str]]

MISSING = "import absent_module\n\n\ndef lambda_handler(event, context):\n    return event\n"


@pytest.fixture(autouse=True)
def own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return make_service(tmp_path / "repository")


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str], service: Service, monkeypatch: pytest.MonkeyPatch) -> Check:
    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.chdir(service.write())
        code = main(["check", *words])
        written = capsys.readouterr()
        return code, written.out, written.err

    return run


@pytest.fixture
def broken(service: Service) -> Service:
    """A service with an error in a handler."""
    handler = service.write() / "service" / "handlers" / "hello.py"
    handler.write_text(MISSING)
    return service


def findings(out: str) -> list[tuple[str, str, int | None]]:
    return [(row["rule"], row["file"], row["line"]) for row in json.loads(out)["findings"]]


def test_clean(check: Check) -> None:
    """A service without findings has a summary, and exits with 0."""
    code, out, err = check()

    assert (0, "") == (code, err)
    assert out.startswith("0 errors, 0 warnings, 0 notes (")


def test_text(check: Check, broken: Service) -> None:
    """A finding is one line with severity, place, message and rule; an error exits with 1. `-q` leaves only errors."""
    code, out, err = check()
    first, summary = out.splitlines()

    assert (1, "") == (code, err)
    assert first.startswith("error: service/handlers/hello.py:1: `hello` cannot import `absent_module`: ")
    assert first.endswith(" [missing-import]")
    assert summary.startswith("1 error, 0 warnings, 0 notes (")

    assert (1, f"{first}\n", "") == check("-q")


def test_imports_little(service: Service) -> None:
    """A check that neither builds nor asks AWS imports no module that sends requests."""
    project = str(service.write())
    assert main(["check", "--project", project]) == 0
    program = (
        "import sys; before = set(sys.modules)\nfrom lamina.cli.main import main\n"
        f"code = main(['check', '--project', {project!r}])\n"
        "slow = ('lamina.aws.api', 'lamina.aws.deploy', 'lamina.aws.publish', 'boto', 'ssl', 'socket', 'email', 'http', 'urllib3')\n"
        "print(code, sorted(name for name in set(sys.modules) - before if name.startswith(slow)))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize(("name", "lines"), [("json", 1), ("sarif", 1), ("markdown", 1), ("github", 0)])
def test_once(check: Check, broken: Service, name: str, lines: int) -> None:
    """A finding of a report on stdout is not on stderr, too: only the summary is, unless the log of GitHub shows both."""
    code, out, err = check("--format", name)

    assert (1, True, lines) == (code, "absent_module" in out, len(err.splitlines()))
    assert all(line.startswith("1 error, 0 warnings, 0 notes (") for line in err.splitlines())


def test_explain(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--explain` shows one rule or lists all of them, outside a service too, and names the nearest rule for an unknown one."""
    monkeypatch.chdir(tmp_path)

    assert main(["check", "--explain", "little-headroom"]) == 0
    assert capsys.readouterr().out == (
        "warning  little-headroom\n"
        "  reported if: Less than 5 % of the unzipped limit is left\n"
        "  fix: Look at the largest distributions now, before a deployment fails\n"
        "  documentation: docs/reference/rules.md#limits\n"
    )
    assert main(["check", "--explain"]) == 0
    assert [rule.name for rule in rules()] == [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert main(["check", "--explain", "missing-import", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rules"]
    assert ("missing-import", "error", "modules") == (row["name"], row["severity"], row["family"])
    assert main(["check", "--explain", "missing-imprt"]) == 2
    assert "unknown rule `missing-imprt` (did you mean `missing-import`?)" in capsys.readouterr().err


@pytest.mark.parametrize(("least", "code"), [("error", 0), ("warning", 1), ("note", 1), ("never", 0)])
def test_fail_on(check: Check, service: Service, least: str, code: int) -> None:
    """`--fail-on` chooses the least severity that fails the check."""
    service.settings["ignore"] = '["no-such-rule"]'

    assert code == check("--fail-on", least)[0]


def test_never(check: Check, broken: Service) -> None:
    """With `never`, errors do not fail the check either."""
    assert check("--fail-on", "never")[0] == 0


def test_several_targets(check: Check, broken: Service) -> None:
    """What is found for several targets is one finding."""
    del broken.settings["runtime"], broken.settings["architecture"]
    broken.settings["targets"] = '["python3.13-arm64", "python3.13-x86_64"]'

    assert [("missing-import", "service/handlers/hello.py", 1)] == findings(check("--json")[1])


def test_unchanged(check: Check, broken: Service) -> None:
    """The check of an unchanged service has the findings of its last build, and builds a changed one."""
    first = check("--json")[1]

    assert [("missing-import", "service/handlers/hello.py", 1)] == findings(first) == findings(check("--json")[1])

    (broken.root / "service" / "handlers" / "hello.py").write_text(MISSING.replace("import absent_module", ""))

    assert [] == findings(check("--json")[1])


OWN = {
    "service/conf.py": (f"ONE = 1\nTOKEN = 'ghp_{'aB3dE5gH7jK9mN1pQ2sT' * 2:.36}'\n", "secret-in-artifact", 2),
    "service/meta.py": ("from importlib.metadata import version\nversion('absent')\n", "missing-metadata", 2),
    "service/types.py": ("", "shadowed-stdlib", None),
    "service/email/templates.py": ("", "hidden-module", None),
    "service/native.so": ("", "damaged-binary", None),
}


@pytest.fixture
def stripped(service: Service) -> Service:
    """A service whose packages do not have the directory of the sources, with a finding in each file of `OWN`."""
    service.settings["source"] = '["service/*"]'
    service.functions["hello"] = "handlers.hello.lambda_handler"
    root = service.write()
    for path, (text, *_) in OWN.items():
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(text)
    (root / "service/__init__.py").unlink()
    return service


def test_own_files(check: Check, stripped: Service) -> None:
    """Every finding about a file of the service's code is at the file in the project, whose path the package does not have."""
    assert {(rule, path, line) for path, (_, rule, line) in OWN.items()} == {*findings(check("--json")[1])}


def test_ignored_file(check: Check, stripped: Service) -> None:
    """`path` of an entry of `ignore` is such a file, also as a glob; the path in the package is none."""
    entries = [
        '{ rule = "secret-in-artifact", reason = "revoked", path = "service/conf.py" }',
        '{ rule = "missing-metadata", reason = "never called", path = "service/*.py" }',
        '{ rule = "shadowed-stdlib", reason = "wanted", path = "types.py" }',
        '{ rule = "damaged-binary", reason = "generated later", path = "hello" }',
    ]
    stripped.settings["ignore"] = f"[{', '.join(entries)}]"

    assert {"shadowed-stdlib", "hidden-module"} == {rule for rule, *_ in findings(check("--json")[1])}


def test_no_build(check: Check, broken: Service) -> None:
    """With `--no-build`, the last build is checked although the sources have changed; without one, the check fails."""
    code, _, err = check("--no-build")

    assert (2, True) == (code, err.startswith("error: no build found in "))

    check()
    (broken.root / "service" / "handlers" / "hello.py").write_text(MISSING.replace("import absent_module", ""))

    assert check("--no-build")[0] == 1
    assert check("--no-build", "--architecture", "arm64")[0] == 2
    assert check()[0] == 0


def delete(path: Path) -> None:
    path.unlink()


def overwrite(path: Path) -> None:
    path.write_bytes(b"junk")


def replace(path: Path) -> None:
    """Make another valid zip, as a malicious or helpful program would."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("added.py", "")


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("absent"))


def kept_findings() -> set[Path]:
    """Return what the store keeps of zips that were checked."""
    return {each for area in ("examined", "findings") for each in (Store.open().root / area).rglob("*.json")}


@pytest.mark.parametrize(
    ("change", "output"),
    [
        (delete, "layers/common.zip"),
        (link, "functions/hello.zip"),
        (overwrite, "layers/common.zip"),
        (replace, "functions/hello.zip"),
    ],
)
def test_no_build_changed(check: Check, service: Service, change: Callable[[Path], None], output: str) -> None:
    """`--no-build` refuses a zip that the last build did not write, and keeps nothing that it finds in one."""
    check()
    path = service.root / ".lamina" / output
    original = path.read_bytes()
    kept = kept_findings()
    assert kept
    change(path)

    code, _, err = check("--no-build")

    assert (5, True) == (code, err.startswith(f"error: `.lamina/{output}` is damaged: "))
    assert kept == kept_findings()

    path.unlink(missing_ok=True)
    path.write_bytes(original)

    assert check("--no-build")[0] == 0


@pytest.mark.parametrize("name", ["text", "json", "sarif", "markdown", "github"])
def test_output(check: Check, broken: Service, tmp_path: Path, name: str) -> None:
    """`--output` writes the report to a file, and the text still goes to the terminal."""
    path = tmp_path / "report"
    path.write_text("0 errors, 0 warnings, 0 notes (0.10 s)\n")
    code, out, err = check("--format", name, "--output", str(path))

    assert (1, "") == (code, out)
    assert "[missing-import]" in err
    assert "missing-import" in path.read_text()


def test_environment_in_a_subdirectory(
    service: Service, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path of `--venv` is relative to the working directory; without one, the environment is that of the project."""
    project = service.write()
    for name in ("env", ".venv"):
        (project / name / "lib/python3.9/site-packages").mkdir(parents=True)
    monkeypatch.chdir(project / "service")
    codes = [main(["check", "--json", "--venv", *path]) for path in (["../env"], [])]
    written = capsys.readouterr().out

    assert [1, 1] == codes
    assert ["`../env` has Python 3.9, but", "`../.venv` has Python 3.9, but"] == re.findall(
        r"`\S+` has Python 3.9, but", written
    )


def test_failed_build(check: Check, service: Service, tmp_path: Path) -> None:
    """If the build fails, the check has its exit code, JSON has the error, and no earlier report is left."""
    path = tmp_path / "report"
    path.write_text("0 errors, 0 warnings, 0 notes (0.10 s)\n")
    service.settings["runtime"] = '"python3.1"'
    code, out, _ = check("--json", "--output", str(path))

    assert (2, False) == (code, path.exists())
    assert json.loads(out)["error"]["kind"] == "InvalidConfigError"


def test_refused_build(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that is refused because the result would be too large has a report with the reason, and nothing to look into."""
    finding = Finding(rule="unzipped-limit", severity=Severity.ERROR, message="`hello`: too large", path="hello")
    monkeypatch.setattr(pipeline, "preflight_findings", lambda *_: ((finding,),))
    code, out, _ = check("--json")

    assert (1, [("unzipped-limit", "pyproject.toml", 12)]) == (code, findings(out))


def test_json_and_format(check: Check) -> None:
    """`--json` is `--format json`, and conflicts with another format."""
    assert json.loads(check("--json")[1]).keys() == json.loads(check("--format", "json")[1]).keys()

    code, _, err = check("--json", "--format", "sarif")

    assert (2, True) == (code, err.startswith("error: `--json` conflicts with `--format sarif`"))


class TestIgnore:
    @pytest.mark.parametrize(
        ("entry", "rules", "ignored"),
        [
            ('{ rule = "missing-import", reason = "made" }', [], 1),
            ('{ rule = "missing-import", reason = "made", until = 2999-01-01 }', [], 1),
            (
                '{ rule = "missing-import", reason = "made", until = 2020-01-01 }',
                ["missing-import", "ignore-expired"],
                0,
            ),
            ('{ rule = "missing-import", reason = "made", path = "hello" }', [], 1),
            ('{ rule = "missing-import", reason = "made", path = "service/handlers/*" }', [], 1),
            ('{ rule = "missing-import", reason = "made", path = "other" }', ["missing-import"], 0),
            ('"missing-import"', ["ignore-reason"], 1),
            ('"missing-inport"', ["missing-import", "ignore-unknown"], 0),
            ('"direct-upload"', ["missing-import"], 0),
        ],
    )
    def test_entries(self, check: Check, broken: Service, entry: str, rules: list[str], ignored: int) -> None:
        """An entry hides findings while it is valid, and a warning says why it hides none."""
        broken.settings["ignore"] = f"[{entry}]"
        document = json.loads(check("--json")[1])

        assert rules == [row["rule"] for row in document["findings"]]
        assert ignored == len(document["ignored"])

    @pytest.mark.parametrize(("path", "is_hidden"), [("hello", True), ("pyproject.toml", False)])
    def test_as_in_a_build(
        self, check: Check, service: Service, capsys: pytest.CaptureFixture[str], path: str, *, is_hidden: bool
    ) -> None:
        """An entry hides the same findings in a check and in a build: where the check shows a finding about a function does not matter."""
        service.more["hello"] = "memory = 20_480"
        service.settings["ignore"] = f'[{{ rule = "managed-instances-only", reason = "they are", path = "{path}" }}]'
        checked = json.loads(check("--json")[1])["findings"]
        main(["build", "--json"])

        assert is_hidden is (checked == []) is (json.loads(capsys.readouterr().out)["findings"] == [])

    def test_errors(self, check: Check, service: Service) -> None:
        """An error that cannot be hidden is shown with a warning about the entry."""
        service.settings["ignore"] = '["unzipped-limit", { rule = "hidden-module", reason = "wanted" }]'
        (service.write() / "email").mkdir()
        (service.root / "email" / "x.py").touch()
        service.settings["source"] = '["service", "email"]'
        document = json.loads(check("--json")[1])

        assert ["hidden-module", "ignore-error"] == [row["rule"] for row in document["findings"]]
        assert "hidden-module" in document["findings"][1]["message"]

    def test_reasons(self, check: Check, broken: Service) -> None:
        """The JSON report has the reason and the last day of each ignored finding, and text counts them."""
        broken.settings["ignore"] = '[{ rule = "missing-import", reason = "made", until = 2999-01-01 }]'
        (row,) = json.loads(check("--json")[1])["ignored"]

        assert ("made", "2999-01-01", "missing-import") == (row["reason"], row["until"], row["rule"])
        assert check()[1].startswith("0 errors, 0 warnings, 0 notes, 1 ignored (")

    def test_expired_in_a_build(self, check: Check, broken: Service) -> None:
        """An expired entry still hides errors in a build, because a date must not make it fail."""
        broken.settings["ignore"] = '[{ rule = "missing-import", reason = "made", until = 2020-01-01 }]'

        assert check()[0] == 1
        assert main(["build"]) == 0


class TestWorkspace:
    @pytest.fixture
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        root = tmp_path / "monorepo"
        (root / ".git").mkdir(parents=True)
        for name in ("orders", "stock"):
            service = make_service(tmp_path / name)
            service.root = root / "services" / name
            service.write()
        (root / "services" / "stock" / "service" / "handlers" / "hello.py").write_text(MISSING)
        monkeypatch.chdir(root)
        return root

    def test_all(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """At the root of a workspace, all services are checked in one report, with files relative to the repository."""
        assert main(["check", "--json"]) == 1
        document = json.loads(capsys.readouterr().out)

        assert [
            {"project": "services/orders", "error": None},
            {"project": "services/stock", "error": None},
        ] == document["services"]
        assert ["services/stock/service/handlers/hello.py"] == [row["file"] for row in document["findings"]]

    def test_failure(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A service that cannot be built is named, the others are checked, and the exit code is that of its error."""
        (root / "services" / "orders" / "pylock.toml").write_text("=")
        code = main(["check", "--json"])
        out, err = capsys.readouterr()
        document = json.loads(out)

        assert (3, 1) == (code, document["summary"]["errors"])
        assert [3, None] == [row["error"] and row["error"]["exit_code"] for row in document["services"]]
        assert "error: services/orders: " in err
        assert "1 error, 0 warnings, 0 notes in 2 services, 1 service not checked (" in err
