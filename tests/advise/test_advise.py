"""``lamina advise``: needs, the comparison whose numbers a build confirms, history, and the reasons for a distribution."""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING, Any

import pytest

from built import MINOR
from lamina.cli.main import main
from lamina.core.target import quotas
from lamina.core.text import megabytes
from lamina.project.newer_facts import forget_facts
from pythons import hide_interpreters
from services import HANDLER, make_service
from sourceprojects import git, source_files, write_sources
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from services import Service

_ARN = "arn:aws:lambda:eu-west-1:123456789012:layer:others:7"


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """
    Return a service whose functions need different distributions.

    `plain` imports alpha, and `report` imports heavy through the service's own modules. heavy requires base without an import, and
    base requires the extra of alpha. Nothing needs orphan, and the extra `all` of heavy, which nothing requests, requires it.
    """
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    service = make_service(tmp_path)
    _add(
        service,
        "heavy",
        {"heavy.py": "import json\n", "heavy.bin": bytes(range(256)) * 500},
        "base",
        'orphan; extra == "all"',
    )
    _add(service, "base", {"base.py": ""}, "alpha[more]", 'absent; sys_platform == "win32"')
    _add(service, "alpha", {"alpha/__init__.py": "VALUE = 1\n"}, 'beta; extra == "more"')
    _add(service, "orphan", {"orphan.py": "import alpha\n"})
    service.settings |= {"runtime": f'"python{MINOR}"', "bytecode": '"reachable"'}
    service.requires_python = f">={MINOR}"
    service.functions = {
        "plain": "service.handlers.plain.lambda_handler",
        "report": "service.handlers.report.lambda_handler",
        "hello": "service.handlers.hello.lambda_handler",
    }
    handlers = service.write() / "service/handlers"
    (handlers / "plain.py").write_text(f"import alpha\n{HANDLER}")
    (handlers / "report.py").write_text(f"from service import reports\n{HANDLER}")
    (handlers.parent / "reports.py").write_text(
        '"""Reports."""\n\ndef make():\n    import heavy\n    from heavy import part\n'
    )
    monkeypatch.chdir(service.root)
    return service


def _add(service: Service, name: str, files: Mapping[str, bytes | str], *requires: str, version: str = "1.0") -> None:
    service.locked[name] = make_wheel(service.wheels, name, version, files, requires=requires)


@pytest.fixture
def advise(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Return a function that runs ``lamina advise`` and returns its output, or with ``--json`` the document."""

    def run(*words: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert code == main(["advise", *words])
        found = capsys.readouterr()
        if code:
            return found.err
        return json.loads(found.out) if "--json" in words else found.out

    return run


def _row(document: Mapping[str, Any], kind: str) -> dict[str, Any]:
    (row,) = (each for each in document["layouts"] if each["kind"] == kind)
    return dict(row)


@pytest.mark.parametrize("mode", ["none", "reachable", "all"])
def test_needs_follow_imports_and_requirements(service: Service, advise: Any, mode: str) -> None:
    """A function needs what it imports, and what that requires on the target with the extras that other distributions request."""
    service.settings["bytecode"] = f'"{mode}"'
    service.write()

    needed = {each["name"]: each["functions"] for each in advise("--json")["distributions"]}

    assert needed == {
        "alpha": ["plain", "report"],
        "base": ["report"],
        "beta": ["report"],
        "heavy": ["report"],
        "orphan": [],
    }


@pytest.mark.parametrize("mode", ["reachable", "all"])
def test_every_size_is_that_of_the_build(service: Service, advise: Any, tmp_path: Path, mode: str) -> None:
    """The zips of each layout have the sizes of the comparison when they are built with it, and the same comparison then has its row."""
    service.settings["bytecode"] = f'"{mode}"'
    service.write()
    document = advise("--json")
    layouts = [each for each in document["layouts"] if each["layout"] is not None]
    assert {"zip-everything", "zip-needed", "one-layer"} <= {each["kind"] for each in layouts}
    for each in layouts:
        _check_built(service, each)

        built = json.loads((service.root / ".lamina/build.json").read_text())
        for row in (*built["layers"], *built["functions"]):
            assert (service.root / row["path"]).stat().st_size == row["zipped_bytes"]
        again = _row(advise("--json"), each["kind"])
        assert again["configured"]
        assert again["deploys"] == each["deploys"]
        assert again["largest_function"] == each["largest_function"]


def test_bytecode_that_does_not_fit_is_not_counted(service: Service, advise: Any) -> None:
    """A layer or zip that is too large only because of bytecode is weighed as a build writes it, also after the limit has changed."""
    large = "".join(f"def function_{number}(a, b):\n    return a + b * {number}\n" for number in range(200))
    _add(service, "heavy", {"heavy.py": large}, "base")
    service.settings |= {"bytecode": '"all"', "facts": '"facts.toml"'}
    service.write()
    facts = service.root / "facts.toml"
    facts.write_text("")
    full = {kind: _row(advise("--json"), kind) for kind in ("zip-everything", "one-layer")}
    layer = next(each["unzipped_bytes"] for each in full["one-layer"]["archives"] if each["kind"] == "layer")

    facts.write_text(f'[[quota]]\nname = "unzipped_bytes"\nvalue = {layer - 1}\nsource = "a test"\nread = 2030-01-01\n')
    forget_facts()
    light = {kind: _row(advise("--json"), kind) for kind in full}
    assert all(light[kind]["archives"][0]["unzipped_bytes"] < layer - 10_000 for kind in full)
    _check_built(service, light["zip-everything"])

    facts.write_text("")
    forget_facts()
    assert full == {kind: {**_row(advise("--json"), kind), "configured": kind == "one-layer"} for kind in full}
    _check_built(service, full["zip-everything"])


def _check_built(service: Service, row: Mapping[str, Any]) -> None:
    """Check that a build with the layout of *row* has its sizes."""
    _configure(service, row["layout"])
    assert main(["build", "--quiet"]) == 0
    built = json.loads((service.root / ".lamina/build.json").read_text())
    assert _weighed(row) == {
        **{("layer", each["name"]): (each["zipped_bytes"], each["unzipped_bytes"]) for each in built["layers"]},
        **{("zip", each["name"]): (each["zipped_bytes"], each["unzipped_bytes"]) for each in built["functions"]},
    }


def _weighed(row: Mapping[str, Any]) -> dict[tuple[str, str], tuple[int, int]]:
    return {
        (each["kind"], name): (each["zipped_bytes"], each["unzipped_bytes"])
        for each in row["archives"]
        for name in ([each["name"]] if each["kind"] == "layer" else each["functions"])
    }


def _configure(service: Service, layout: Mapping[str, Any]) -> None:
    layers = ", ".join(
        f"{each['name']} = {{ only = {json.dumps(each['distributions'])} }}" for each in layout["layers"]
    )
    service.settings["layers"] = f"{{ {layers} }}"
    service.more = {
        each["name"]: f'packaging = "{each["packaging"]}", layers = {json.dumps(each["layers"])}'
        for each in layout["functions"]
    }
    service.write()


def test_deploys_of_the_table(service: Service, advise: Any) -> None:
    """The numbers of the table follow from the sizes of the zips; images are not measured."""
    document = advise("--json", "--environments", "4", "--uplink", "8kbit")
    for kind in ("zip-everything", "zip-needed"):
        row = _row(document, kind)
        everything = sum(each["zipped_bytes"] * len(each["functions"]) for each in row["archives"])
        assert row["deploys"]["first"]["sent_bytes"] == row["deploys"]["edit"]["sent_bytes"] == everything
        assert row["deploys"]["first"]["sent_bytes_all_environments"] == 4 * everything
        assert row["deploys"]["first"]["seconds"] == round(everything / 1000, 1)
        assert row["versioned"] == 3
    layer, package = _row(document, "one-layer")["archives"]
    deploys = _row(document, "one-layer")["deploys"]
    assert layer["kind"] == "layer"
    assert deploys["first"]["sent_bytes"] == layer["zipped_bytes"] + 3 * package["zipped_bytes"]
    assert deploys["edit"]["sent_bytes"] == 3 * package["zipped_bytes"]
    assert deploys["update"]["sent_bytes"] == deploys["largest_update"]["sent_bytes"] == layer["zipped_bytes"]
    # Each function gets a new version when its layer does.
    assert deploys["update"]["stored_bytes"] == layer["unzipped_bytes"] + 3 * package["unzipped_bytes"]
    assert _row(document, "image")["note"] == _row(document, "image-shared-base")["note"] == "not measured"

    shown = advise("--environments", "4")
    assert "sent by a deploy to 4 environments:\n" in shown
    assert "no function is known to need `orphan` (" in shown
    assert "upload to one environment" not in shown
    assert "cold starts: not measured; measure them with `lamina coldstart" in shown
    assert "unzipped size of each function" not in shown
    report = next(
        each["unzipped_bytes"] for each in _row(document, "zip-needed")["functions"] if each["name"] == "report"
    )
    assert report == next(
        each["unzipped_bytes"] for each in _row(document, "zip-needed")["archives"] if "report" in each["functions"]
    )
    assert (
        f"{megabytes(report)} (0%)*"
        in advise("--verbose").partition("unzipped size of each function with its layers, *")[2]
    )
    assert _row(document, "zip-needed")["editable_functions"] == ["plain", "report", "hello"]
    assert document["limits"]["unzipped_bytes"] == quotas().unzipped_bytes
    assert "upload to one environment at 20 Mbit/s:\n" in advise("--verbose")
    markdown = advise("--format", "markdown")
    assert markdown.startswith("## lamina advise\n")
    assert "### Kept by Lambda in one environment\n" in markdown


def test_history(service: Service, advise: Any) -> None:
    """Updates are what changed together in the lock file's history, and a year has the deploys of its commits."""
    git(service.root, "init", "--quiet", "--initial-branch", "main")
    _commit(service, "Start")
    alone = advise("--json")
    assert alone["history"] == {"updates": 5, "lock_file_changes": 0, "deploys_per_year": {"edits": 0, "updates": 0}}

    for number in ("1.1", "1.2", "1.3"):
        _add(service, "orphan", {"orphan.py": "import alpha\n"}, version=number)
        _commit(service, "Update orphan")
    _add(service, "heavy", {"heavy.py": "import json\n"}, "base", version="2.0")
    _add(service, "orphan", {"orphan.py": ""}, version="2.0")
    _commit(service, "Update heavy and orphan")
    (service.root / "service/reports.py").write_text("import heavy\n")
    _commit(service, "Edit")
    (service.root / "README.md").write_text("About\n")
    _commit(service, "Describe")
    document = advise("--json")

    assert document["history"] == {"updates": 4, "lock_file_changes": 4, "deploys_per_year": {"edits": 1, "updates": 4}}
    row = _row(document, "zip-needed")
    (heavy,) = (each for each in row["archives"] if each["functions"] == ["report"])
    # No zip has orphan, so that only the last update changes one.
    assert row["deploys"]["update"]["sent_bytes"] == 0
    assert row["deploys"]["largest_update"]["sent_bytes"] == heavy["zipped_bytes"]
    costs = row["deploys"]
    assert costs["edit"]["stored_bytes"] == costs["first"]["stored_bytes"]
    # The sum over the updates: three that change no zip, and one that changes that of `report`.
    year = 2 * costs["first"]["stored_bytes"] + heavy["unzipped_bytes"]
    assert row["stored_bytes_per_year"] == year
    assert "updates: the last 4 changes of the lock file in git\n" in advise()

    scaled = advise("--json", "--deploys-per-year", "60")
    assert scaled["history"]["deploys_per_year"] == {"edits": 12, "updates": 48}


def _commit(service: Service, message: str) -> None:
    service.write()
    git(service.root, "add", ".")
    git(service.root, "commit", "--quiet", "--message", message)


def test_without_git(service: Service, advise: Any) -> None:
    """Without git, each distribution is an update by itself, and the number of deploys is unknown unless the user states it."""
    document = advise("--json")
    assert document["history"] == {"updates": 5, "lock_file_changes": 0, "deploys_per_year": None}
    assert _row(document, "one-layer")["stored_bytes_per_year"] is None
    assert "deploys in a year: unknown; set `--deploys-per-year N` and `--updates-per-year N`\n" in advise()
    assert "updates: each distribution by itself, because git has no commit with the lock file\n" in advise()
    assert advise("--json", "--deploys-per-year", "100")["history"]["deploys_per_year"] is None

    stated = advise("--json", "--deploys-per-year", "100", "--updates-per-year", "1", "--environments", "3")
    assert stated["history"]["deploys_per_year"] == {"edits": 99, "updates": 1}
    row = _row(stated, "one-layer")
    assert row["stored_bytes_per_year"] > 99 * row["deploys"]["edit"]["stored_bytes"]
    assert row["stored_bytes_per_year_all_environments"] == 3 * row["stored_bytes_per_year"]
    assert "more than" in advise("--deploys-per-year", "1", "--updates-per-year", "2", code=2)


def test_why(service: Service, advise: Any) -> None:
    """A chain goes from the handler over the import to the distribution, and shows what is only required; extras have a name."""
    assert advise("--why", "Heavy") == (
        "report: service.handlers.report → service.reports (service/reports.py:4) → heavy\n"
        "no locked distribution requires heavy, so the project may require it\n"
    )
    assert advise("--why", "beta", "--function", "report") == (
        "report: service.handlers.report → service.reports (service/reports.py:4) → heavy → base (required by heavy) → "
        "alpha (required by base) → beta (required by alpha)\n"
        "locked because alpha[more] requires it\n"
    )
    assert advise("--why", "beta", "--function", "plain").startswith("no function is known to need beta 2.0\n")
    # Nothing requests the extra `all` of heavy.
    assert advise("--why", "orphan").endswith("no locked distribution requires orphan, so the project may require it\n")
    (found,) = advise("--why", "base", "--json")["functions"]
    assert (found["path"], found["line"], found["distributions"]) == ("service/reports.py", 4, ["heavy", "base"])
    assert "no layer of the service has the distribution `gamma`" in advise("--why", "gamma", code=2)
    assert "the service has no function `other`" in advise("--why", "heavy", "--function", "other", code=2)
    assert "`--function` is only allowed with `--why`" in advise("--function", "plain", code=2)
    assert "`--why` has no report as `markdown`" in advise("--why", "heavy", "--format", "markdown", code=2)


def test_why_is_it_locked(service: Service, advise: Any) -> None:
    """The project's own requirements count, and of extras only those that it or a distribution requests; never the distribution itself."""
    _add(
        service,
        "heavy",
        {"heavy.py": ""},
        'heavy[all]; extra == "more"',
        'orphan; extra == "all"',
        'beta; extra == "never"',
    )
    path = service.write() / "pyproject.toml"
    project = path.read_text()
    path.write_text(project.replace("[tool.lamina]", 'dependencies = ["heavy[more]", "alpha"]\n[tool.lamina]'))

    def locked(name: str) -> str:
        return str(advise("--why", name)).splitlines()[-1]

    assert locked("heavy") == "locked because the project requires it"
    assert locked("alpha") == "locked because the project, base require it"
    assert locked("orphan") == "locked because heavy[all] requires it"
    assert locked("beta") == "locked because alpha[more] requires it"
    found = advise("--why", "alpha", "--json")
    assert (found["required_by_project"], found["required_by"]) == (True, ["base"])
    path.write_text(project.replace("[tool.lamina]", "dependencies = []\n[tool.lamina]"))
    assert locked("heavy") == "no locked distribution requires heavy, so the project may require it"


def test_requirements_of_local_packages(service: Service, advise: Any, tmp_path: Path) -> None:
    """What a local package requires is locked because of it; its own code is in no layer."""
    library = source_files("library", module="import orphan\n", dependencies=("orphan", "absent"))
    write_sources(tmp_path / "library", library)
    lock = service.write() / "pylock.toml"
    lock.write_text(f'{lock.read_text()}\n[[packages]]\nname = "library"\n[packages.directory]\npath = "../library"\n')
    (service.root / "service/handlers/plain.py").write_text(f"import library\n{HANDLER}")

    assert advise("--why", "orphan") == (
        "plain: service.handlers.plain → library (../library/library/__init__.py:1) → orphan\n"
        "locked because library requires it\n"
    )
    refused = advise("--why", "library", code=2)
    assert "`library` is a local package, whose code is in the zips of functions" in refused
    assert "name a distribution that it requires: `orphan`" in refused


def test_requirements_that_cannot_be_evaluated(service: Service, advise: Any) -> None:
    """A requirement with a marker that means nothing does not apply: the lock file has what it resolved to."""
    markers = ("sys_platform ~= 'linux'", "python_version ~= 'abc'", "'x' in extras")
    _add(service, "heavy", {"heavy.py": ""}, *(f"orphan; {marker}" for marker in markers), "not a requirement", "base")
    service.write()

    needed = {each["name"]: each["functions"] for each in advise("--json")["distributions"]}

    assert (needed["orphan"], needed["base"]) == ([], ["report"])


def test_own_modules_that_replace_those_of_distributions(service: Service, advise: Any) -> None:
    """A chain can return to the service's own code, which is in no distribution."""
    _add(service, "heavy", {"heavy.py": "import alpha\n"})
    _add(service, "alpha", {"alpha/__init__.py": "import six\n"})
    _add(service, "orphan", {"orphan.py": ""})
    service.settings["source"] = '["service", "own/*"]'
    (service.write() / "own").mkdir()
    (service.root / "own/six.py").write_text("import orphan\n")

    assert advise("--why", "orphan", "--function", "report").startswith(
        "report: service.handlers.report → service.reports (service/reports.py:4) → heavy → alpha → orphan\n"
    )


def test_lines_are_those_of_the_target(service: Service, advise: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target's interpreter finds the line of an import, whatever the Python that runs lamina understands."""
    parse: Any = ast.parse

    def parse_expression(*arguments: Any, **options: Any) -> Any:
        assert options, "own code is parsed"
        return parse(*arguments, **options)

    # packaging parses the strings of markers, and pytest modules that are imported now; both with options.
    with monkeypatch.context() as without_parser:
        without_parser.setattr("ast.parse", parse_expression)
        shown = advise("--why", "heavy")

    assert "(service/reports.py:4)" in shown


def test_functions_with_conflicting_distributions(service: Service, advise: Any) -> None:
    """Of two modules with the same name, a function imports that of the distribution which it has."""
    _add(service, "heavy", {"common/part.py": ""})
    _add(service, "orphan", {"common/part.py": ""})
    service.settings["layers"] = '{ one = { only = ["heavy"] }, two = { only = ["orphan"] } }'
    service.more = {"plain": 'layers = ["one"]', "report": 'layers = ["two"]', "hello": "layers = []"}
    handlers = service.write() / "service/handlers"
    for name in ("plain", "report"):
        (handlers / f"{name}.py").write_text(f"import common.part\n{HANDLER}")

    assert advise("--why", "heavy").startswith("plain: service.handlers.plain (service/handlers/plain.py:1) → heavy\n")
    assert advise("--why", "orphan").startswith(
        "report: service.handlers.report (service/handlers/report.py:1) → orphan\n"
    )


def test_different_files_of_one_distribution(service: Service, advise: Any) -> None:
    """Layers that lock different files of a distribution cannot be compared with one layer."""
    service.settings["layers"] = '{ one = { groups = ["a"] }, two = { groups = ["b"] } }'
    service.more = {"plain": 'layers = ["one"]', "report": 'layers = ["two"]', "hello": "layers = []"}
    service.markers = {"beta": "'a' in dependency_groups"}
    lock = service.write() / "pylock.toml"
    first = lock.read_text().replace("created-by", 'dependency-groups = ["a", "b"]\ncreated-by')
    service.markers = {"beta": "'b' in dependency_groups"}
    _add(service, "beta", {"beta.py": ""}, version="3.0")
    service.write()
    rows = lock.read_text().split("[[packages]]")
    lock.write_text("[[packages]]".join([first, *(row for row in rows if 'name = "beta"' in row)]))

    assert "layers lock different files of `beta`" in advise(code=3)


def test_cold_starts_are_those_of_the_packaging_that_was_measured(service: Service, advise: Any) -> None:
    """A baseline records the packaging: its times are those of the row with this packaging, whatever is configured."""
    conditions = {
        "system": "Linux",
        "machine": "x86_64",
        "processors": 2,
        "runtime": f"python{MINOR}",
        "cpu_share": None,
    }
    medians = {"plain": {"median_ms": 120.0}, "report": {"median_ms": 340.5}}
    baseline = {"version": "1", "circumstances": conditions, "functions": medians}

    def found(**more: object) -> dict[str, float]:
        (service.root / "coldstart.json").write_text(json.dumps({**baseline, **more}))
        rows = [each for each in advise("--json")["layouts"] if each["slowest_start"] is not None]
        return {each["kind"]: each["slowest_start"]["milliseconds"] for each in rows}

    everything = ["alpha", "base", "beta", "heavy", "orphan"]
    names = ["plain", "report"]
    assert found() == {}
    assert "`coldstart.json` does not say which packaging was measured" in advise()
    one = [{"functions": names, "layers": [everything], "zip": []}]
    assert found(packagings=one) == {"one-layer": 340.5}
    assert "`coldstart.json` has those of one packaging, measured on a machine of yours" in advise()
    service.settings["packaging"] = '"zip"'
    service.write()
    assert found(packagings=one) == {"one-layer": 340.5}
    assert found(packagings=[{"functions": names, "layers": [], "zip": everything}]) == {"zip-everything": 340.5}
    assert found(packagings=[{"functions": names, "layers": [["alpha"]], "zip": []}]) == {}
    assert "`coldstart.json` was measured with another packaging" in advise()


def test_cold_starts_in_aws(service: Service, advise: Any) -> None:
    """Of the cold starts that `coldstart --aws` has read, the newest group of each function counts, by its name in Lambda."""
    rows = [("greeter-plain", "2026-02", 90), ("greeter-plain", "2026-01", 800), ("greeter-plain-2", "2026-03", 999)]
    groups = [
        {"function": name, "source": "logs", "first": first, "milliseconds": {"p50": time}}
        for name, first, time in rows
    ]
    (service.root / "aws.json").write_text(json.dumps({"version": "1", "kind": "aws", "groups": groups}))

    found = _row(advise("--json", "--baseline", "aws.json"), "one-layer")

    assert found["slowest_start"] == {"milliseconds": 90.0, "source": "logs in aws.json"}
    (service.root / "aws.json").write_text(json.dumps({"version": "1", "kind": "aws", "groups": [{}]}))
    assert "`aws.json` has no cold starts of format version 1" in advise("--baseline", "aws.json", code=2)
    assert "failed to read the baseline `absent.json`" in advise("--baseline", "absent.json", code=2)


def test_unusable_layouts_are_not_recommended(service: Service, advise: Any) -> None:
    """Neither a layout that cannot be built nor one with too many layers: the recommended one always has a row with its numbers."""
    arns = json.dumps([_ARN.replace(":7", f":{number}") for number in range(1, 6)])
    service.more = {"plain": f"layer-arns = {arns}"}
    service.write()

    document = advise("--json")

    row = _row(document, "one-layer")
    assert row["obstacle"] == row["note"] == "exceeds Lambda's limit of 5 layers: `plain` has 6"
    recommended = next(each for each in document["layouts"] if each["layout"] == document["recommendation"]["layout"])
    assert recommended["title"] == "one layer, and `plain` with the distributions in the zip"
    assert (recommended["kind"], recommended["obstacle"]) == ("several-layers", None)
    assert recommended["deploys"]["first"]["sent_bytes"] > 0
    assert _row(document, "external-layers")["largest_function"] is None
    plain = next(each for each in row["functions"] if each["name"] == "plain")
    assert plain["is_least"]
    assert row["largest_function"]["is_least"]
    assert "at least " in advise()


@pytest.mark.parametrize(("own", "theirs"), [("", "extra.py"), ("extra.py", "__init__.py")])
def test_layers_that_hide_modules(service: Service, advise: Any, own: str, theirs: str) -> None:
    """In one zip, directories of the same name are one. A layer would hide modules of either, so it is not recommended."""
    _add(service, "alpha", {"alpha/__init__.py": "", f"service/{theirs}": ""})
    service.settings["packaging"] = '"zip"'
    if own:
        (service.write() / "service/__init__.py").unlink(missing_ok=True)
        (service.root / "service" / own).write_text("")
    else:
        (service.write() / "service/__init__.py").write_text("")

    document = advise("--json")

    assert _row(document, "one-layer")["obstacle"].startswith(
        "hides modules of `plain` that one zip has together: `service/"
    )
    assert {each["packaging"] for each in document["recommendation"]["layout"]["functions"]} == {"zip"}
    del service.settings["packaging"]
    service.write()
    assert _row(advise("--json"), "one-layer")["obstacle"] is None


def test_the_bundled_sdk_is_in_every_zip(service: Service, advise: Any) -> None:
    """With `sdk = "bundle"`, a function without boto3 cannot be built."""
    for name in ("boto3", "botocore", "s3transfer"):
        _add(service, name, {f"{name}/__init__.py": ""})
    service.settings["sdk"] = '"bundle"'
    service.write()

    layout = _row(advise("--json"), "zip-needed")["layout"]

    assert all({"boto3", "botocore", "s3transfer"} <= {*each["distributions"]} for each in layout["layers"])


def test_imports_need_an_interpreter(
    service: Service, advise: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without bytecode; the error names the purpose."""
    other = "3.12" if MINOR != "3.12" else "3.13"
    service.settings |= {"bytecode": '"none"', "runtime": f'"python{other}"'}
    service.requires_python = f">={other}"
    service.write()
    hide_interpreters(tmp_path, monkeypatch)

    for words in ((), ("--why", "alpha")):
        error = advise(*words, code=5)
        assert f"no CPython {other} found on this machine to find the imports of functions" in error
        assert 'bytecode = "none"' not in error


def test_one_function_whose_zip_is_impossible(service: Service, advise: Any) -> None:
    """A small function gets a layer if its own files and a distribution are not possible in one zip."""
    del service.functions["plain"], service.functions["hello"]
    _add(service, "heavy", {"heavy.py": "", "service": "a file where the function has a directory"})
    service.write()

    assert "recommended: one shared layer (as configured)\n" in advise()


def test_distributions_that_conflict_with_each_other(service: Service, advise: Any) -> None:
    """If no function has both, the service can be built, and the layouts that put both together are impossible."""
    _add(service, "alpha", {"alpha/__init__.py": "", "same.py": "1"})
    _add(service, "heavy", {"heavy.py": "import json\n", "same.py": "2"})
    service.settings["packaging"] = '"zip"'
    service.settings["layers"] = '{ one = { only = ["alpha"] }, other = { only = ["heavy"] }, none = { only = [] } }'
    service.more = {"plain": 'layers = ["one"]', "report": 'layers = ["other"]', "hello": 'layers = ["none"]'}
    service.write()

    document = advise("--json")

    for kind in ("one-layer", "zip-everything"):
        assert _row(document, kind)["note"].startswith("impossible: distributions install different content")
    assert {each["name"] for each in document["distributions"]} == {"alpha", "heavy"}
    assert document["recommendation"]["layout"] is not None


def test_different_excludes(service: Service, advise: Any) -> None:
    """Layers with different `exclude` have no files in common that another layout could have; the reasons do not need it."""
    service.settings["layers"] = '{ common = {}, other = { only = ["alpha"], exclude = ["**/*.bin"] } }'
    service.more = {"plain": 'layers = ["other"]', "report": 'layers = ["common"]', "hello": 'layers = ["common"]'}
    service.write()

    assert "`other` have different `exclude`, so other packagings cannot be compared" in advise(code=2)
    assert advise("--why", "alpha").startswith("plain: ")


def test_layers_by_arn(service: Service, advise: Any) -> None:
    """Layers by ARN have a row of their own, with a note on what is not known of them."""
    service.more = {"plain": f'layer-arns = ["{_ARN}"]'}
    service.write()

    row = _row(advise("--json"), "external-layers")

    assert (row["versioned"], row["deploys"]) == (1, None)
    assert "not pinned" in row["note"]


def test_over_the_limit(service: Service, advise: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layout that exceeds Lambda's limit says so, and is weighed nevertheless."""
    limits = quotas()
    largest = _row(advise("--json"), "one-layer")["largest_function"]["unzipped_bytes"]
    monkeypatch.setattr(type(limits), "unzipped_bytes", largest - 1)

    row = _row(advise("--json"), "one-layer")

    assert row["note"].startswith("exceeds Lambda's limit of ")
    assert row["largest_function"]["unzipped_bytes"] > 0


def test_impossible_layout(service: Service, advise: Any) -> None:
    """A layout that cannot be built has no numbers, but the reason; the others have theirs."""
    _add(service, "heavy", {"heavy.py": "", "service": "a file where the function has a directory"})
    service.write()

    document = advise("--json")

    for kind in ("zip-everything", "zip-needed"):
        row = _row(document, kind)
        assert (row["deploys"], row["layout"]) == (None, None)
        assert row["note"].startswith("impossible: your own code and distributions have conflicting paths")
    assert _row(document, "one-layer")["deploys"] is not None
    shown = advise()
    line = next(line for line in shown.splitlines() if line.startswith("  zip per function, everything in each"))
    assert line.endswith(" impossible")
    assert "zip per function, everything in each: impossible: your own code" in shown
    assert "there is no packaging `zip-needed` to configure" in advise("--write", "zip-needed", "--yes", code=1)


def test_recorded_modules_count(service: Service, advise: Any) -> None:
    """A module that `lamina coldstart --record` has recorded is needed, although no import of it is found."""
    recorded = {"version": "1", "functions": {"hello": {"modules": ["orphan"]}}}
    (service.root / "lamina-profile.json").write_text(json.dumps(recorded))

    assert advise("--why", "orphan").startswith("hello: orphan\nno locked distribution")
    assert advise("--why", "alpha", "--function", "hello").startswith("hello: orphan → alpha\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--uplink", "fast"), "`fast` is not a speed"),
        (("--uplink", "0Mbit"), "`0Mbit` is not a speed"),
        (("--uplink", f"{'9' * 400}Gbit"), "is not a speed"),
        (("--uplink", "\u0661Mbit"), "is not a speed"),
        (("--environments", "9" * 5000), "the number is too large; the most is 1,000,000,000"),
        (("--environments", "0"), "`0` is not a number from 1"),
        (("--deploys-per-year", "x"), "`x` is not a number from 1"),
    ],
)
def test_invalid_options(service: Service, advise: Any, words: tuple[str, ...], said: str) -> None:
    """An invalid number or speed is a usage error."""
    assert said in advise(*words, code=2)


def test_nothing_to_compare(service: Service, advise: Any) -> None:
    """A service without functions, or with its own code in a layer, has no other packagings to compare."""
    functions, service.functions = service.functions, {}
    service.write()
    assert "without functions, there are no packagings to compare" in advise(code=2)

    service.functions = functions
    service.sources = dict.fromkeys(functions, '["service/handlers"]')
    service.settings["layers"] = "{ common = { first-party = true } }"
    service.write()
    assert "layer `common` has the service's own code" in advise(code=2)
