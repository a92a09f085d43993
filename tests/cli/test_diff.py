"""``lamina diff``: every kind of side, the reports, and the exit code."""

from __future__ import annotations

import json
import shutil
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from audit.osvserver import osv
from externallayers import ARN, layer_server, layer_zip
from lamina.cli.main import main
from lamina.core.target import quotas
from loopback import IndexServer
from pipeline.test_preflight import inflated
from services import make_service
from sourceprojects import git

if TYPE_CHECKING:
    from pathlib import Path

    from audit.osvserver import OsvServer
    from externallayers import LayerServer
    from services import Service


__all__ = ["layer_server", "osv"]

POWERTOOLS = "arn:aws:lambda:eu-west-1:017000801446:layer:AWSLambdaPowertoolsPythonV3-python313-x86_64:7"


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Return a committed service, of which beta is newer in the working tree."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    service = make_service(tmp_path)
    root = service.write()
    git(root, "init", "--quiet", "--initial-branch", "main")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "Start")
    monkeypatch.chdir(root)
    return service


def _newer(service: Service) -> None:
    service.add("beta", "2.1", {"beta.py": "import alpha, sys\n"})
    service.write()


@pytest.fixture
def diff(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str, code: int = 0, error: bool = False) -> str:
        capsys.readouterr()
        assert code == main(["diff", *words])
        found = capsys.readouterr()
        return found.err if error else found.out

    return run


def test_working_tree(service: Service, diff: Any) -> None:
    """By default, the last commit is compared with the working tree, which is built."""
    assert diff("--exit-code").endswith("no differences: nothing would be published\n")

    _newer(service)
    (service.root / "service/handlers/hello.py").write_text("def lambda_handler(event, context):\n    return 1\n")
    shown = diff("--exit-code", code=1)

    assert "layer common for python3.13 on x86_64: would publish because beta 2.0 → 2.1\n" in shown
    assert "  beta 2.0 → 2.1  +" in shown
    assert "package of `hello` for python3.13 on x86_64: would deploy because 1 file changed\n" in shown
    assert "    changed service/handlers/hello.py\n" in shown
    assert shown.endswith("1 layer would be published, 1 function would be deployed\n")


def test_every_kind_of_side(service: Service, diff: Any, tmp_path: Path) -> None:
    """A revision, a directory, a report, a zip and a lock file of the same state differ from the new state in the same distribution."""
    diff()
    shutil.copytree(service.root, old := tmp_path / "old")
    shutil.copy(service.root / "pylock.toml", lock := tmp_path / "pylock.old.toml")
    report = tmp_path / "report.json"
    shutil.copy(old / ".lamina/build.json", report)
    _newer(service)

    for side in (
        "main",
        old,
        old / ".lamina",
        old / ".lamina/build.json",
        report,
        old / ".lamina/layers/common.zip",
        lock,
    ):
        found = json.loads(diff(str(side), "--json"))

        layer = next(each for each in found["archives"] if each["kind"] == "layer")
        assert "beta 2.0 → 2.1" == layer["reason"]
        assert [("beta", "2.0", "2.1")] == [
            (each["name"], each["before"]["version"], each["after"]["version"]) for each in layer["distributions"]
        ]
        assert "common" == layer["after"]["name"]
        assert "the working tree" == found["after"]
    assert {"pylock.toml"} < {path.name for path in service.root.iterdir()}
    assert not json.loads(diff(str(lock), str(lock), "--json"))["differs"]


def test_layer_by_arn(service: Service, diff: Any, layer_server: LayerServer) -> None:
    """The layer version of an ARN is downloaded once, and compared with the layer of the service that is most like it."""
    diff()
    content = (service.root / ".lamina/layers/common.zip").read_bytes()
    layer_server.zips[ARN] = content
    _newer(service)

    for _ in range(2):
        found = json.loads(diff(ARN, "--json"))
        assert ["beta 2.0 → 2.1"] == [each["reason"] for each in found["archives"]]
    assert 1 == len(layer_server.downloads)


def test_markdown_file(service: Service, diff: Any, tmp_path: Path) -> None:
    """The report for a pull request is the same in each run, and can be written to a file."""
    _newer(service)
    shown = diff("--format", "markdown")
    assert "" == diff("--format", "markdown", "--output", str(tmp_path / "diff.md"))

    assert shown == (tmp_path / "diff.md").read_text()
    assert shown.startswith("## lamina diff\n\n1 layer would be published (from `HEAD` to `the working tree`)\n")
    assert "would publish because beta 2.0 → 2.1 |" in shown


@pytest.mark.parametrize("name", ["text", "json", "markdown"])
def test_an_earlier_report_is_replaced(service: Service, tmp_path: Path, diff: Any, name: str) -> None:
    """The command knows each format of its own report; the report of equal states, too."""
    words = ["--format", name, "--output", str(tmp_path / "report")]
    diff(*words)
    equal = (tmp_path / "report").read_text()
    _newer(service)
    diff(*words)

    assert equal != (tmp_path / "report").read_text()


def test_baseline(service: Service, diff: Any) -> None:
    """A committed baseline of cold starts is compared with that of the working tree."""

    def write(median: float) -> None:
        conditions = {"system": "Linux", "machine": "x", "processors": 2, "runtime": "python3.13", "cpu_share": None}
        functions = {"hello": {"median_ms": median}}
        content = {"version": "1", "circumstances": conditions, "functions": functions}
        (service.root / "coldstart.json").write_text(json.dumps(content))

    write(100)
    git(service.root, "add", ".")
    git(service.root, "commit", "--quiet", "--message", "Measure")
    write(80.5)

    assert "cold start of hello: 100.0 ms → 80.5 ms (-19.5 ms)\n" in diff("--baseline", "coldstart.json")
    assert json.loads(diff("HEAD~1", "--baseline", "coldstart.json", "--json"))["cold_starts"] is None
    assert "neither state has the baseline" not in diff("HEAD~1", "--baseline", "coldstart.json", error=True)
    assert "neither state has the baseline `cold.json`, so" in diff("--baseline", "cold.json", error=True)


def test_vulnerabilities(service: Service, diff: Any, tmp_path: Path) -> None:
    """
    The vulnerabilities that an update brings and removes are listed; those of both sides are not.

    Nothing is asked about distributions that are not from the default index.
    """

    def advisory(name: str, name_of: str, *versions: str) -> dict[str, Any]:
        package = {"name": name_of, "ecosystem": "PyPI"}
        affected = [{"package": package, "versions": list(versions)}]
        return {"id": name, "modified": "2026-02-01T00:00:00Z", "summary": "Broken", "affected": affected}

    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for each in (
            advisory("PYSEC-2026-1", "beta", "2.0"),
            advisory("PYSEC-2026-2", "beta", "2.1"),
            advisory("PYSEC-2026-3", "alpha", "1.0"),
            advisory("PYSEC-2026-4", "beta", "2.0", "2.1"),
        ):
            archive.writestr(f"{each['id']}.json", json.dumps(each))

    osv = ("--osv", str(tmp_path / "all.zip"))
    _newer(service)
    assert {"new": [], "gone": []} == json.loads(diff(*osv, "--json"))["vulnerabilities"]

    with IndexServer(service.wheels) as server:
        service.base_url = f"{server.url}/files"
        service.add("beta", "2.0")
        service.write()
        git(service.root, "commit", "--quiet", "--all", "--message", "Use an index")
        _newer(service)
        shown = diff(*osv)
        found = json.loads(diff(*osv, "--json"))["vulnerabilities"]

    assert ["PYSEC-2026-2"] == [each["id"] for each in found["new"]]
    assert ["PYSEC-2026-1"] == [each["id"] for each in found["gone"]]
    assert "new vulnerability: `beta` 2.1 has PYSEC-2026-2 (unknown severity): Broken\n" in shown


def test_names_that_are_not_sent(
    service: Service, diff: Any, tmp_path: Path, layer_server: LayerServer, osv: OsvServer
) -> None:
    """No kind of side makes a name public: also not a layer by ARN, which may be an own one."""
    with IndexServer(service.wheels) as server:
        service.base_url = f"{server.url}/files"
        service.write()
        lock = service.root / "pylock.toml"
        secret = 'name = "beta"\nindex = "https://127.0.0.1/own/simple"\n'
        lock.write_text(lock.read_text().replace('name = "beta"\n', secret))
        git(service.root, "commit", "--quiet", "--all", "--message", "Use two indexes")
        diff()
        layer = service.root / ".lamina/layers/common.zip"
        layer_server.zips[ARN] = layer.read_bytes()
        shutil.copy(lock, other := tmp_path / "pylock.other.toml")
        for side in (ARN, str(layer), str(service.root), str(other), "HEAD"):
            osv.requests.clear()
            shown = diff(side, "--vulnerabilities", "--osv", osv.url, error=True)
            queries = [query for body in osv.asked("/v1/querybatch") for query in body["queries"]]
            assert (side, {"alpha"}) == (side, {each["package"]["name"] for each in queries})
            assert "vulnerabilities of `beta` are not compared: from the index `https://127.0.0.1/own/simple`" in shown
        metadata = "python/gamma-1.0.dist-info/METADATA"
        layer_server.zips[POWERTOOLS] = layer_zip({metadata: "Name: gamma\nVersion: 1.0\n", "python/beta.py": ""})
        osv.requests.clear()
        diff(POWERTOOLS, "--vulnerabilities", "--osv", osv.url)
        queries = [query for body in osv.asked("/v1/querybatch") for query in body["queries"]]
        assert {"alpha", "gamma"} == {each["package"]["name"] for each in queries}
        diff(ARN, "--vulnerabilities", "--osv", osv.url, "--all")
        assert ["alpha", "beta"] == [each["package"]["name"] for each in osv.asked("/v1/querybatch")[-1]["queries"]]


def test_exchanged_zip(service: Service, diff: Any) -> None:
    """A zip that is not what its statement of provenance describes is reported."""
    diff()
    layers = service.root / ".lamina/layers"
    with zipfile.ZipFile(layers / "common.zip", "a") as archive:
        archive.writestr("python/added.py", "")

    shown = diff("HEAD", str(layers / "common.zip"), "--exit-code", code=1)

    assert "layer common for python3.13: differs: same digest, other bytes: 1 added\n" in shown
    assert "provenance not verified in " in shown
    assert "`common.zip.intoto.json` describes another file" in shown
    assert shown.endswith("\n1 zip differs, provenance of 1 zip not verified\n")


@pytest.mark.parametrize("name", ["text", "markdown"])
def test_unverified_but_equal(service: Service, diff: Any, tmp_path: Path, name: str) -> None:
    """A statement about another zip is reported, and counts as a difference for `--exit-code`, although the zips are equal."""
    diff()
    layer = shutil.copy(service.root / ".lamina/layers/common.zip", tmp_path)
    shutil.copy(service.root / ".lamina/functions/hello.zip.intoto.json", f"{layer}.intoto.json")

    shown = diff("HEAD", layer, "--exit-code", "--format", name, code=1)

    assert "no differences, provenance of 1 zip not verified" in shown
    assert "provenance not verified in " in shown
    assert "`common.zip.intoto.json` describes another file" in shown


def test_lock_and_package(service: Service, diff: Any) -> None:
    """A lock file has nothing to compare with a function's package, in either order."""
    diff()
    package = ".lamina/functions/hello.zip"

    for sides in ((package, "pylock.toml"), ("pylock.toml", package)):
        shown = diff(*sides, code=2, error=True)
        assert f"`{package}` is the package of a function, and a lock file only describes layers" in shown


@pytest.mark.parametrize(
    ("side", "code", "message"),
    [
        ("nowhere", 2, "revision `nowhere` does not exist, nor does a file with this name"),
        ("service", 2, "directory `service` has no build to compare"),
        ("pyproject.toml", 2, "`pyproject.toml` is neither a zip, a build report nor a lock file"),
        (
            "service/handlers/hello.py",
            2,
            "`service/handlers/hello.py` is neither a zip, a build report nor a lock file",
        ),
        (
            "arn:aws:lambda:eu-west-1:123456789012:layer:common",
            2,
            "names a layer, not one of its versions",
        ),
        ("arn:aws:lambda:*:123456789012:layer:common:1", 2, "is not the ARN of a layer version"),
        ("", 2, "an empty text names no state"),
    ],
)
def test_no_side(service: Service, diff: Any, side: str, code: int, message: str) -> None:
    """An argument that is no side is an error that names what was expected."""
    assert message in diff(side, code=code, error=True)


def test_lock_with_another_name(service: Service, diff: Any) -> None:
    """A lock file is known by its name, and the error says so."""
    (service.root / "pylock.toml").rename(service.root / "old.lock")

    assert "or a lock file by its own name, such as `old/uv.lock`" in diff("old.lock", "HEAD", code=2, error=True)


@pytest.mark.parametrize(
    ("has_repository", "message"),
    [
        (False, "is not in a git repository, which has the revisions to compare with\n"),
        (True, "revision `HEAD` does not exist: the git repository has no commits\n"),
    ],
)
def test_no_revision(service: Service, diff: Any, has_repository: bool, message: str) -> None:
    """Without a commit to compare with, the error names what else can be compared."""
    shutil.rmtree(service.root / ".git")
    if has_repository:
        git(service.root, "init", "--quiet")

    shown = diff(code=2, error=True)

    assert message in shown
    assert "compare with a build or zip: `lamina diff FILE`\n" in shown


def test_too_large(service: Service, diff: Any) -> None:
    """A state whose build is refused is named, whether it is the working tree or a revision."""
    with IndexServer(service.wheels) as server:
        service.base_url = f"{server.url}/files"
        alpha = service.locked["alpha"]
        server.behaviour.replace[alpha.name] = inflated(alpha)
        lock = service.write() / "pylock.toml"
        size = f"size = {alpha.stat().st_size}"
        lock.write_text(lock.read_text().replace(size, f"size = {quotas().unzipped_bytes}"))
        git(service.root, "commit", "--quiet", "--all", "--message", "Grow")

        tree = diff(code=1, error=True)
        revision = diff("HEAD", "pylock.toml", code=1, error=True)

    ending = "cannot be compared: a build of it stops, because its layers would exceed Lambda's limits"
    assert f"error: the working tree {ending}\n" in tree
    assert f"error: revision `HEAD` {ending}\n" in revision
