"""What the databases of advisories say: in OSV's format from its service and its zip, from an index, and from Inspector."""

from __future__ import annotations

import json
import os
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from audit.osvserver import CVE, GHSA, PYSEC, advisory, of_pypa, osv
from lamina.audit.vulnerabilities.find import find
from lamina.audit.vulnerabilities.indexjson import IndexAdvisories
from lamina.audit.vulnerabilities.inspector import InspectorAdvisories
from lamina.audit.vulnerabilities.osv import OsvService
from lamina.audit.vulnerabilities.osvzip import OsvZip
from lamina.audit.vulnerabilities.record import read
from lamina.audit.vulnerabilities.severity import of_vectors, of_word
from lamina.audit.vulnerabilities.values import Advice, AdvisorySeverity, Release, Vulnerability
from lamina.aws.api.session import Access
from lamina.core.errors import (
    AccessDeniedError,
    ArchiveError,
    AwsError,
    ConfigError,
    CorruptArchiveError,
    DownloadError,
    SuspiciousSizeError,
)
from lamina.core.frozen import replace
from lamina.core.store import Store
from lamina.fetch.credentials import Credentials
from lamina.fetch.http import Client

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from audit.osvserver import OsvServer

__all__ = ["osv"]

ALPHA = ("alpha", "1.0")
MEDIUM = AdvisorySeverity.MEDIUM


def client() -> Client:
    return Client(Credentials(environment={}), backoff=0)


@pytest.fixture
def service(osv: OsvServer, tmp_path: Path) -> OsvService:
    return OsvService(client(), Store.open(tmp_path / "store"), url=osv.url)


def affected(*ranges: dict[str, Any], versions: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    package = {"name": "alpha", "ecosystem": "PyPI"}
    return [{"package": package, "ranges": [*ranges], "versions": [*versions]}]


def events(*pairs: tuple[str, str], kind: str = "ECOSYSTEM") -> dict[str, Any]:
    return {"type": kind, "events": [{name: version} for name, version in pairs]}


def test_an_advisory(service: OsvService, osv: OsvServer) -> None:
    """The service is asked for names and versions alone, and its advisory becomes a vulnerability."""
    osv.advisories = [advisory()]

    (found,) = find([("Alpha", "1.0"), ("beta", "2.0")], service).vulnerabilities

    assert (GHSA, (CVE, PYSEC), Release(name="alpha", version="1.0")) == (found.id, found.aliases, found.release)
    assert (MEDIUM, ("1.1",), ()) == (found.severity, found.fixed, found.imports)
    assert found.summary == "Alpha vulnerable to HTML attribute injection"
    assert found.url is not None
    assert found.url.endswith(GHSA)
    package = {"ecosystem": "PyPI"}
    assert osv.asked("/v1/querybatch") == [
        {
            "queries": [
                {"package": {"name": "alpha"} | package, "version": "1.0"},
                {"package": {"name": "beta"} | package, "version": "2.0"},
            ]
        }
    ]
    assert {credentials for _, _, credentials in osv.requests} == {None}


def test_several_advisories_about_one_vulnerability_are_one(service: OsvService, osv: OsvServer) -> None:
    """The advisory with a reviewed severity counts, completed by the imports that the other one names."""
    osv.advisories = [of_pypa(), advisory(), advisory(id="GHSA-xxxx-xxxx-xxxx", aliases=[])]

    first, second = find([ALPHA], service).vulnerabilities

    assert (GHSA, (CVE, PYSEC), ("alpha.VALUE",)) == (first.id, first.aliases, first.imports)
    assert ("GHSA-xxxx-xxxx-xxxx", ()) == (second.id, second.imports)


def test_advisories_are_joined_by_any_id() -> None:
    """Advisories that only a third one connects are one, with the most severe of their severities, in time proportional to their IDs."""
    number = 20_000
    release = Release(name="alpha", version="1.0")
    chain = [
        Vulnerability(id=f"X-{at:05}", aliases=(f"X-{at + 2:05}",), release=release, severity=MEDIUM)
        for at in range(number)
    ]
    chain[7] = replace(chain[7], severity=AdvisorySeverity.CRITICAL)
    chain[8] = replace(chain[8], severity=None)

    worst, other = find([ALPHA], Known(chain)).vulnerabilities

    assert ("X-00001", AdvisorySeverity.CRITICAL, number // 2) == (worst.id, worst.severity, len(worst.aliases))
    assert ("X-00000", MEDIUM) == (other.id, other.severity)


class Known:
    """A database that knows *vulnerabilities*."""

    place = "here"

    def __init__(self, vulnerabilities: Iterable[Vulnerability]) -> None:
        self._advice = Advice(vulnerabilities=tuple(vulnerabilities))

    def ask(self, releases: Sequence[Release]) -> Advice:
        del releases
        return self._advice


def test_local_labels(service: OsvService, osv: OsvServer) -> None:
    """A version with a local label has the vulnerabilities of the version without it."""
    osv.advisories = [advisory()]

    found = find([("alpha", "1.0+cpu"), ALPHA], service).vulnerabilities

    assert [each.release.version for each in found] == ["1.0", "1.0+cpu"]
    assert len(osv.asked("/v1/querybatch")[0]["queries"]) == 1


def test_withdrawn_advisories_are_left_out(service: OsvService, osv: OsvServer) -> None:
    """An advisory that its database has withdrawn is no vulnerability."""
    osv.advisories = [advisory(withdrawn="2026-03-01T00:00:00Z")]

    assert find([ALPHA], service).vulnerabilities == ()


def test_pages_and_batches(service: OsvService, osv: OsvServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer can have several pages, and many distributions need several requests."""
    osv.page_size = 1
    osv.advisories = [advisory(id=f"GHSA-{number}", aliases=[]) for number in range(3)]
    monkeypatch.setitem(service._facts["osv"], "most_queries", 2)

    found = find([ALPHA, ("beta", "1"), ("gamma", "1")], service).vulnerabilities

    assert [each.id for each in found] == ["GHSA-0", "GHSA-1", "GHSA-2"]
    assert [len(body["queries"]) for body in osv.asked("/v1/querybatch")] == [2, 1, 1, 1]


def test_advisories_are_kept(service: OsvService, osv: OsvServer) -> None:
    """An advisory is read again only if it has changed."""
    osv.advisories = [advisory()]
    assert len(find([ALPHA], service).vulnerabilities) == 1
    assert len(find([ALPHA], service).vulnerabilities) == 1
    assert len(osv.asked(f"/v1/vulns/{GHSA}")) == 1
    osv.advisories = [advisory(modified="2026-04-01T00:00:00Z", database_specific={"severity": "CRITICAL"})]

    (found,) = find([ALPHA], service).vulnerabilities

    assert found.severity is AdvisorySeverity.CRITICAL
    assert len(osv.asked(f"/v1/vulns/{GHSA}")) == 2


def test_an_advisory_that_changes_meanwhile_is_not_kept(service: OsvService, osv: OsvServer) -> None:
    """An advisory with another time of change than the list has is not kept under the time in the list."""
    osv.advisories = [advisory()]
    later = advisory(modified="2026-04-01T00:00:00Z", database_specific={"severity": "CRITICAL"})
    osv.raw[f"/v1/vulns/{GHSA}"] = 200, json.dumps(later).encode()
    assert len(find([ALPHA], service).vulnerabilities) == 1
    del osv.raw[f"/v1/vulns/{GHSA}"]

    (found,) = find([ALPHA], service).vulnerabilities

    assert found.severity is MEDIUM


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        b"[]",
        b"{}",
        b"null",
        b'{"results": 1}',
        b'{"results": []}',
        b'{"results": [1]}',
        b'{"results": [null]}',
        b'{"results": [{"vulns": "GHSA"}]}',
        b'{"results": [{"vulns": [], "next_page_token": 1}]}',
        b'{"results": [{"vulns": [{"id": "../../x"}]}]}',
        b'{"results": [{"vulns": [{}]}]}',
        b"[" * 100_000,
    ],
    ids=lambda content: content[:40].decode(),
)
def test_an_answer_that_is_not_of_osv(service: OsvService, osv: OsvServer, content: bytes) -> None:
    """Any other answer is an error of the download, and never counts as an answer without vulnerabilities."""
    osv.raw["/v1/querybatch"] = 200, content

    with pytest.raises(DownloadError):
        find([ALPHA], service)


ABOUT_NOTHING: list[dict[str, Any]] = [
    {"affected": 1},
    {"affected": [{"package": {"name": 1, "ecosystem": "PyPI"}}]},
    {"affected": [{"package": None}]},
]
INVALID: list[dict[str, Any]] = [
    {"affected": [{"package": {"name": "alpha", "ecosystem": ["PyPI"]}}]},
    {"aliases": 1},
    {"aliases": "CVE-1"},
    {"aliases": [f"CVE-{number}" for number in range(1_001)]},
    {"severity": 5, "database_specific": {}},
    {"database_specific": [1]},
    {"summary": {"a": 1}},
]


@pytest.mark.parametrize("changes", [*INVALID, *ABOUT_NOTHING, {"id": "GHSA-other"}], ids=lambda value: str(value)[:60])
def test_an_advisory_that_is_not_in_osvs_format(service: OsvService, osv: OsvServer, changes: dict[str, Any]) -> None:
    """An invalid advisory counts as one of unknown severity, which no gate lets pass, and the others are reported."""
    osv.advisories = [advisory(), advisory(id="GHSA-1", aliases=[])]
    osv.raw[f"/v1/vulns/{GHSA}"] = 200, json.dumps(advisory(**changes)).encode()

    valid, invalid = find([ALPHA], service).vulnerabilities

    assert ("GHSA-1", MEDIUM) == (valid.id, valid.severity)
    assert (GHSA, None, Release(name="alpha", version="1.0")) == (invalid.id, invalid.severity, invalid.release)
    assert "the advisory is invalid" in invalid.summary


@pytest.mark.parametrize(
    ("status", "error"), [(500, DownloadError), (400, DownloadError), (404, DownloadError), (403, AccessDeniedError)]
)
def test_a_service_that_fails(service: OsvService, osv: OsvServer, status: int, error: type[Exception]) -> None:
    """An error of the service is one of the audit."""
    osv.raw["/v1/querybatch"] = status, b"{}"

    with pytest.raises(error):
        find([ALPHA], service)


def test_a_compressed_answer(service: OsvService, osv: OsvServer) -> None:
    """The error for a compressed answer says that it is compressed."""
    osv.headers["/v1/querybatch"] = {"Content-Encoding": "gzip"}

    with pytest.raises(DownloadError, match="the answer is compressed"):
        find([ALPHA], service)


def test_a_service_that_asks_to_wait_long(service: OsvService, osv: OsvServer) -> None:
    """A server that asks to wait longer than two minutes is an error at once, which says why."""
    osv.raw["/v1/querybatch"] = 429, b"{}"
    osv.headers["/v1/querybatch"] = {"Retry-After": "99999"}

    with pytest.raises(DownloadError, match="HTTP 429 and asks to wait 99,999 seconds"):
        find([ALPHA], service)
    assert len(osv.asked("/v1/querybatch")) == 1


def test_an_endless_answer(service: OsvService, osv: OsvServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that exceeds the limit is not read to its end."""
    monkeypatch.setitem(service._facts["limits"], "answer_bytes", 1_000)
    osv.raw["/v1/querybatch"] = 200, b" " * 2_000 + b"{}"

    with pytest.raises(DownloadError, match="more than 1,000 bytes"):
        find([ALPHA], service)


@pytest.mark.parametrize(
    ("row", "version", "is_affected"),
    [
        (events(("introduced", "0"), ("fixed", "1.1")), "1.0", True),
        (events(("introduced", "0"), ("fixed", "1.1")), "1.1", False),
        (events(("introduced", "0"), ("fixed", "1.1")), "1.1rc1", True),
        (events(("introduced", "1.5")), "1.0", False),
        (events(("introduced", "1.5")), "2.0", True),
        (events(("introduced", "0"), ("last_affected", "1.0")), "1.0", True),
        (events(("introduced", "0"), ("last_affected", "1.0")), "1.0.1", False),
        (events(("fixed", "1.1"), ("introduced", "0"), ("introduced", "2.0"), ("fixed", "2.1")), "2.0.5", True),
        (events(("fixed", "1.1"), ("introduced", "0"), ("introduced", "2.0"), ("fixed", "2.1")), "1.5", False),
        (events(("introduced", "0"), ("limit", "1.1")), "1.2", False),
        (events(("introduced", "0"), ("fixed", "1.1"), kind="GIT"), "1.0", False),
        (events(("introduced", "0")), "not a version", False),
    ],
)
def test_ranges(row: dict[str, Any], version: str, is_affected: bool) -> None:
    """Ranges are evaluated as OSV's schema says, by the order of Python's versions."""
    found = read(advisory(affected=affected(row)), Release(name="alpha", version=version))

    assert is_affected is (found is not None)


def test_listed_versions() -> None:
    """A listed version is affected in any of its spellings; another distribution or ecosystem is not."""
    listed = advisory(affected=affected(versions=("1.0", "weird")))
    release = Release(name="alpha", version="1.0.0")

    assert read(listed, release) is not None
    assert read(listed, Release(name="alpha", version="weird")) is not None
    assert read(listed, Release(name="beta", version="1.0")) is None
    listed["affected"][0]["package"]["ecosystem"] = "npm"
    assert read(listed, release) is None


def test_fixes_of_several_branches() -> None:
    """Only fixes above the version are named, the oldest first."""
    rows = affected(
        events(("introduced", "0"), ("fixed", "0.9"), ("introduced", "1.0"), ("fixed", "1.10"), ("fixed", "1.9"))
    )

    found = read(advisory(affected=rows), Release(name="alpha", version="1.0"))

    assert found is not None
    assert found.fixed == ("1.9", "1.10")


@pytest.mark.parametrize(
    ("rows", "severity"),
    [
        ([{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}], AdvisorySeverity.CRITICAL),
        ([{"type": "CVSS_V3", "score": "CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}], AdvisorySeverity.HIGH),
        ([{"type": "CVSS_V2", "score": "AV:N/AC:M/Au:N/C:N/I:P/A:N"}], MEDIUM),
        (
            [{"type": "CVSS_V4", "score": "CVSS:4.0/AV:L/AC:H/AT:P/PR:H/UI:A/VC:L/VI:N/VA:N/SC:N/SI:N/SA:N"}],
            AdvisorySeverity.LOW,
        ),
        ([{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N"}], None),
        ([{"type": "CVSS_V3", "score": "CVSS:3.1/nonsense"}], None),
        ([{"type": "Ubuntu", "score": "medium"}, 1, {}], None),
        (
            [
                {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"},
                {"type": "CVSS_V4", "score": "CVSS:4.0/AV:L/AC:H/AT:P/PR:H/UI:A/VC:L/VI:N/VA:N/SC:N/SI:N/SA:N"},
            ],
            AdvisorySeverity.LOW,
        ),
    ],
)
def test_vectors(rows: list[Any], severity: AdvisorySeverity | None) -> None:
    """The newest kind of vector decides; an invalid one says nothing."""
    assert severity is of_vectors(rows)


def test_words() -> None:
    """The words of GitHub, of CVSS and of Inspector."""
    words = {
        "MODERATE": MEDIUM,
        "medium": MEDIUM,
        "Critical": AdvisorySeverity.CRITICAL,
        "UNTRIAGED": None,
        "none": None,
    }

    assert words == {word: of_word(word) for word in words}
    assert of_word(3) is None


def write_zip(path: Path, *documents: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, document in enumerate(documents):
            content = document if isinstance(document, bytes) else json.dumps(document).encode()
            archive.writestr(f"{number}.json", content)
    return path


def test_the_zip_says_the_same_as_the_service(service: OsvService, osv: OsvServer, tmp_path: Path) -> None:
    """The zip needs no network, and lamina compares the versions itself."""
    other = advisory(id="GHSA-1", affected=affected(events(("introduced", "2.0"))))
    osv.advisories = [advisory(), of_pypa()]
    path = write_zip(
        tmp_path / "all.zip", *osv.advisories, other, advisory(id="GHSA-2", withdrawn="2026-01-01T00:00:00Z")
    )

    assert find([ALPHA], service) == find([ALPHA], OsvZip(path))
    assert [each.id for each in find([ALPHA], OsvZip(path)).vulnerabilities] == [GHSA]


@pytest.mark.parametrize(
    ("limit", "most"), [("zip_bytes", 100), ("zip_files", 1), ("zip_unzipped_bytes", 100), ("advisory_bytes", 100)]
)
def test_a_zip_that_exceeds_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, most: int) -> None:
    """A zip that is too large, or unpacks to too much, is refused."""
    database = OsvZip(write_zip(tmp_path / "all.zip", advisory(), b"{" + b" " * 10_000))
    monkeypatch.setitem(database._limits, limit, most)

    with pytest.raises(SuspiciousSizeError):
        find([ALPHA], database)


@pytest.mark.parametrize(
    "document",
    [
        *(advisory(**changes) for changes in INVALID),
        advisory(affected=affected(versions=("9" * 5_000,))),
        advisory(affected=[*affected(), {"package": {"name": 1, "ecosystem": "PyPI"}}]),
        advisory(id="../x"),
        b'{"name": "Alpha", ',
        b'["ALPHA"]',
        b'{"affected": "alpha"}',
    ],
    ids=lambda value: str(value)[:60],
)
def test_an_invalid_advisory_in_the_zip(tmp_path: Path, document: Any) -> None:
    """An invalid advisory counts for the distributions that it is about, or that it quotes, and the others are reported."""
    path = write_zip(tmp_path / "all.zip", document, advisory(id="GHSA-1", aliases=[]))

    valid, invalid = find([ALPHA, ("beta", "1.0")], OsvZip(path)).vulnerabilities

    assert ("GHSA-1", MEDIUM) == (valid.id, valid.severity)
    assert ("alpha", None) == (invalid.release.name, invalid.severity)
    assert invalid.id == (GHSA if isinstance(document, dict) and document["id"] == GHSA else "0")


def test_an_invalid_advisory_about_something_else(tmp_path: Path) -> None:
    """An invalid advisory in the zip that does not quote the name of a distribution changes nothing."""
    documents = [advisory(**changes) for changes in ABOUT_NOTHING]
    path = write_zip(tmp_path / "all.zip", *documents, b"alpha {", b'["alphabet"]', advisory(id="GHSA-1", aliases=[]))

    assert [each.id for each in find([ALPHA], OsvZip(path)).vulnerabilities] == ["GHSA-1"]


@pytest.mark.parametrize("encoding", ["escapes", "utf-16", "utf-8-sig"])
def test_disguised_names_in_the_zip(tmp_path: Path, encoding: str) -> None:
    """A name that is written with escapes, or in another encoding of JSON, is found."""
    text = json.dumps(advisory())
    content = text.replace("lpha", "\\u006cpha").encode() if encoding == "escapes" else text.encode(encoding)
    path = write_zip(tmp_path / "all.zip", content, advisory(id="GHSA-1", affected=affected()))

    (found,) = find([ALPHA], OsvZip(path)).vulnerabilities

    assert found.id == GHSA


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    """A zip without advisories about Python, such as OSV's for npm, is a mistake, and never counts as one without vulnerabilities."""
    npm = {"package": {"name": "left-pad", "ecosystem": "npm"}}
    both = advisory(affected=[npm, *affected(versions=("0.9",))])
    others: list[list[Any]] = [
        [],
        [advisory(affected=[npm])],
        [advisory(affected=[npm]), both],
        [b'"PyPI"'],
        [{"affected": []}],
    ]
    for number, documents in enumerate(others):
        path = write_zip(tmp_path / f"{number}.zip", *documents)
        for wanted in ([ALPHA], []):
            with pytest.raises(ConfigError, match="has no advisories about Python distributions"):
                find(wanted, OsvZip(path))
    path = write_zip(tmp_path / "all.zip", both, advisory(affected=affected()))
    assert find([ALPHA], OsvZip(path)).vulnerabilities == ()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_zips(tmp_path: Path, method: int) -> None:
    """Whatever byte is damaged, the result is the same, or an error of lamina."""
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("GHSA-1.json", json.dumps(advisory()))
    content = path.read_bytes()
    outcomes = set()
    for at in range(0, len(content), 3):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xA5]) + content[at + 1 :])
        try:
            outcomes.add(len(find([ALPHA], OsvZip(path)).vulnerabilities))
        except (ArchiveError, ConfigError):
            outcomes.add(-1)
    assert outcomes <= {-1, 1}
    path.write_bytes(content)
    if method in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        assert len(find([ALPHA], OsvZip(path)).vulnerabilities) == 1
    else:
        with pytest.raises(CorruptArchiveError, match="another method than deflate"):
            find([ALPHA], OsvZip(path))


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x05\x06" + bytes(18) + b"x" * 70_000])
def test_a_file_that_is_no_zip(tmp_path: Path, content: bytes) -> None:
    """A damaged file is an error; a missing one is a mistake in the configuration."""
    path = tmp_path / "all.zip"
    path.write_bytes(content)
    with pytest.raises(ArchiveError):
        find([ALPHA], OsvZip(path))
    path.unlink()
    with pytest.raises(ConfigError, match="No such file"):
        find([ALPHA], OsvZip(path))
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        with pytest.raises((ConfigError, ArchiveError)):
            find([ALPHA], OsvZip(path))


def row(**changes: Any) -> dict[str, Any]:
    return {
        "id": PYSEC,
        "aliases": [CVE, GHSA],
        "details": "The `xmlattr` filter accepts keys with spaces.\nMore.",
        "fixed_in": ["1.1"],
        "link": "https://example.org/PYSEC-2024-230",
        "source": "osv",
        "summary": None,
        "withdrawn": None,
    } | changes


def test_the_index(osv: OsvServer) -> None:
    """The JSON API has one page for each release, without severities; a release without a page is unknown."""
    osv.index = {"alpha/1.0": [row(), row(id="PYSEC-1", withdrawn="2026-01-01")], "beta/2.0": []}

    answer = find([ALPHA, ("beta", "2.0"), ("gamma", "3.0")], IndexAdvisories(client(), f"{osv.url}/simple/"))

    (found,) = answer.vulnerabilities
    assert (PYSEC, None, ("1.1",)) == (found.id, found.severity, found.fixed)
    assert found.summary == "The `xmlattr` filter accepts keys with spaces."
    assert answer.unknown == (Release(name="gamma", version="3.0"),)


def test_an_index_without_the_api(osv: OsvServer) -> None:
    """If the index knows no release at all, nothing was audited, and that is an error."""
    with pytest.raises(DownloadError, match="has no JSON API"):
        find([ALPHA], IndexAdvisories(client(), osv.url))
    osv.raw["/pypi/alpha/1.0/json"] = 200, b'{"vulnerabilities": [{"id": 1}]}'
    with pytest.raises(DownloadError, match="about `alpha` is invalid"):
        find([ALPHA], IndexAdvisories(client(), osv.url))


@pytest.mark.parametrize(
    "changes",
    [{"fixed_in": "1.1"}, {"fixed_in": [1]}, {"details": {"a": 1}}, {"link": 1}, {"aliases": "CVE-1"}],
    ids=str,
)
def test_an_invalid_row_of_the_index(osv: OsvServer, changes: dict[str, Any]) -> None:
    """A row with values of other types counts as an advisory of unknown severity, and the others are reported."""
    osv.index = {"alpha/1.0": [row(**changes), row(id="PYSEC-1", aliases=[])]}

    other, found = find([ALPHA], IndexAdvisories(client(), osv.url)).vulnerabilities

    assert (PYSEC, ()) == (found.id, found.fixed)
    assert "the advisory is invalid" in found.summary
    assert ("PYSEC-1", ("1.1",)) == (other.id, other.fixed)


@pytest.mark.parametrize("link", ["javascript:alert(1)", "file:///etc/passwd", "//example.org", ""])
def test_only_addresses_of_pages_are_links(osv: OsvServer, link: str) -> None:
    """Anything but the address of a web page is no link."""
    osv.index = {"alpha/1.0": [row(link=link), row(id="PYSEC-1", aliases=[], link="https://example.org")]}

    other, found = find([ALPHA], IndexAdvisories(client(), osv.url)).vulnerabilities

    assert (None, "https://example.org") == (found.url, other.url)


# The shape of an answer that Inspector's documentation shows, with other names.
SCANNED: dict[str, Any] = {
    "sbom": {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "components": [{"bom-ref": "comp-1", "type": "library", "name": "alpha", "purl": "pkg:pypi/alpha@1.0"}],
        "vulnerabilities": [
            {
                "bom-ref": "vuln-1",
                "id": CVE,
                "source": {"name": "NVD", "url": "https://nvd.nist.gov/vuln/detail/CVE-2024-22195"},
                "references": [{"id": GHSA, "source": {"name": "GITHUB"}}],
                "ratings": [
                    {"source": {"name": "NVD"}, "score": 6.1, "severity": "low", "method": "CVSSv31"},
                    {"source": {"name": "EPSS"}, "score": 0.00045, "severity": "none", "method": "other"},
                    {"source": {"name": "AMAZON_INSPECTOR"}, "score": 5.4, "severity": "medium", "method": "other"},
                ],
                "description": "Alpha is vulnerable.",
                "advisories": [{"url": "https://example.org/advisory"}],
                "affects": [{"ref": "comp-1"}],
                "properties": [
                    {"name": "amazon:inspector:sbom_scanner:fixed_version:comp-1", "value": "1.1"},
                    {"name": "amazon:inspector:sbom_scanner:priority", "value": "standard"},
                ],
            }
        ],
    }
}


@pytest.fixture
def aws(osv: OsvServer, monkeypatch: pytest.MonkeyPatch) -> OsvServer:
    """Let AWS's clients use the server."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-test")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", osv.url)
    return osv


def test_inspector(aws: OsvServer) -> None:
    """Inspector gets an SBOM of names and versions, and its own rating counts."""
    aws.aws["/scan/sbom"] = SCANNED

    (found,) = find([ALPHA, ("beta", "2.0+local")], InspectorAdvisories(Access().connect().inspector)).vulnerabilities

    assert (CVE, (GHSA,), MEDIUM, ("1.1",)) == (found.id, found.aliases, found.severity, found.fixed)
    (sent,) = aws.asked("/scan/sbom")
    assert [each["purl"] for each in sent["sbom"]["components"]] == ["pkg:pypi/alpha@1.0", "pkg:pypi/beta@2.0"]
    assert sent["outputFormat"] == "CYCLONE_DX_1_5"


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"sbom": {"vulnerabilities": [{"id": 1}]}},
        {"sbom": {"vulnerabilities": 1}},
        {"sbom": {"vulnerabilities": [SCANNED["sbom"]["vulnerabilities"][0] | {"description": 1}]}},
        {"sbom": {"vulnerabilities": [SCANNED["sbom"]["vulnerabilities"][0] | {"advisories": {"url": "x"}}]}},
    ],
    ids=lambda value: str(value)[:60],
)
def test_an_answer_that_is_not_of_inspector(aws: OsvServer, answer: dict[str, Any]) -> None:
    """Any other answer is an error of AWS."""
    aws.aws["/scan/sbom"] = answer

    with pytest.raises(AwsError):
        find([ALPHA], InspectorAdvisories(Access().connect().inspector))
