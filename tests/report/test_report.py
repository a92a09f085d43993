"""``lamina report``: the page of a built service, the same for the same build."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from lamina.cli.main import main
from lamina.core.frozen import replace
from lamina.pipeline import report
from lamina.pipeline.history import HISTORY_FILE
from lamina.report.build import limits_section
from services import HANDLER, make_service

if TYPE_CHECKING:
    from pathlib import Path

    from services import Service


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Return a service of two functions, one of which needs `alpha`; its project is the working directory."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    service = make_service(tmp_path / "project")
    service.functions["other"] = "service.handlers.other.lambda_handler"
    monkeypatch.chdir(service.write())
    (service.root / "service/handlers/other.py").write_text(f"import alpha\n{HANDLER}")
    return service


def page_of(service: Service) -> str:
    return (service.root / ".lamina/report.html").read_text()


def sections_of(page: str) -> list[str]:
    return re.findall(r'<section id="([\w-]+)"', page)


def test_page_of_a_build(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """The page is built with the service, and shows the build, its zips and the comparison."""
    assert 0 == main(["report", "-q"])
    assert f"{service.root}/.lamina/report.html\n" == capsys.readouterr().out
    page, built = page_of(service), report.read(service.root)
    [layer] = built.layers

    assert ["limits", "contents", "needs", "packaging", "findings", "history"] == sections_of(page)
    for each in layer.distributions:
        assert re.search(rf'<th scope="row">{each.name}</th><td>{each.version}</td>', page)
    assert f"({layer.digest[:12]})" in page
    # Only `other` needs alpha.
    [row] = re.findall(r'<tr><th scope="row">alpha 1\.0, .*</tr>', page)
    assert 1 == row.count("✓")
    assert "zip per function, only what it needs" in page


def test_same_build_same_page(service: Service) -> None:
    """The page depends on the build and not on when it is written."""
    assert 0 == main(["report", "-q"])
    first = page_of(service)
    assert 0 == main(["report", "-q", "--json"])

    assert first == page_of(service)
    built = json.loads((service.root / HISTORY_FILE).read_text())["built"]
    assert f"<dt>Built</dt><dd>{built.replace('T', ' ').removesuffix('+00:00')} UTC</dd>" in first


def test_history_grows(service: Service) -> None:
    """Each build that changed a zip is a row of the page, with the layers that changed."""
    assert 0 == main(["report", "-q"])
    (service.root / "service/handlers/other.py").write_text(f"import alpha\n{HANDLER}# edited\n")
    assert 0 == main(["report", "-q"])
    rows = re.findall(r'<tr><th scope="row">(\d)</th><td>[\d :-]+ UTC</td><td>(\w+)</td>', page_of(service))

    assert [("2", "none"), ("1", "common")] == rows


def test_without_functions(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """A service that cannot be compared has a page that says why."""
    service.functions.clear()
    service.write()

    assert 0 == main(["report"])
    assert "note: the page does not compare packagings: " in capsys.readouterr().err
    assert "Not compared: " in page_of(service)
    assert "needs" not in sections_of(page_of(service))


AUDIT: dict[str, Any] = {
    "services": [
        {
            "database": "OSV",
            "asked": 1,
            "distributions": [{}, {}],
            "not_auditable": [{"subject": "beta 1.0", "reason": "from <b>another</b> index"}],
            "vulnerabilities": [
                {
                    "id": "CVE-1",
                    "url": "https://osv.dev/vulnerability/CVE-1",
                    "name": "alpha",
                    "version": "1.0",
                    "severity": "high",
                    "fixed": ["1.1"],
                    "summary": "<img src=x>",
                    "ignored": False,
                    "fails": True,
                }
            ],
        }
    ]
}
SBOM: dict[str, Any] = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "components": [
        {
            "name": "common",
            "type": "file",
            "components": [
                {"name": "alpha", "version": "1.0", "type": "library", "licenses": [{"license": {"id": "MIT"}}]},
                {"name": "beta", "version": "2.0", "type": "library", "licenses": [{"expression": "MIT OR 0BSD"}]},
            ],
        }
    ],
}


def test_files_of_audit(service: Service) -> None:
    """The page has the vulnerabilities and components in the files of `lamina audit`."""
    (service.root / "audit.json").write_text(json.dumps(AUDIT))
    (service.root / "sbom.json").write_text(json.dumps(SBOM))

    assert 0 == main(["report", "-q", "--audit", "audit.json", "--sbom", "sbom.json", "--output", "page.html"])
    page = (service.root / "page.html").read_text()

    assert ["vulnerabilities", "sbom"] == sections_of(page)[-3:-1]
    assert '<a href="https://osv.dev/vulnerability/CVE-1" rel="noreferrer">CVE-1</a>' in page
    assert "asked OSV about 1 of 2 distributions. Known vulnerabilities: 1." in page
    assert "&lt;img src=x&gt;" in page
    assert "3 components" in page
    assert '<th scope="row">beta</th><td>2.0</td><td>library</td><td>MIT OR 0BSD</td>' in page
    assert hashlib.sha256((service.root / "sbom.json").read_bytes()).hexdigest() in page


@pytest.mark.parametrize("option", ["--audit", "--sbom", "--coldstart"])
@pytest.mark.parametrize("content", [None, "", "{}", "[1]"])
def test_other_files(service: Service, capsys: pytest.CaptureFixture[str], option: str, content: str | None) -> None:
    """A file of another kind is an error before anything is built."""
    if content is not None:
        (service.root / "file.json").write_text(content)

    assert 2 == main(["report", option, "file.json"])
    assert "error: `file.json` " in capsys.readouterr().err
    assert not (service.root / ".lamina").exists()


def test_without_the_extra(
    service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without its libraries, the command says how to install them."""
    monkeypatch.setitem(sys.modules, "vl_convert", None)

    assert 2 == main(["report"])
    assert "lamina[report]" in capsys.readouterr().err


def test_build_that_stopped(service: Service) -> None:
    """A build without zips, which would exceed the limits, has a page that says so."""
    assert 0 == main(["build", "-q"])
    built = report.read(service.root)

    assert 2 == len(limits_section([built]).tables)
    assert 1 == len(limits_section([built]).paragraphs)
    stopped = limits_section([replace(built, layers=(), packages=())])
    assert () == stopped.tables
    assert stopped.paragraphs[1].startswith("The build stopped")
