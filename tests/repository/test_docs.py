"""Test that the documentation matches the code: pages, links, commands, keys, fields, rules and exit codes."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import tomllib
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from docs import generate

import lamina
from audit.made import HIDDEN, IMPORT, make_report
from lamina.audit.diff import document as diff_report
from lamina.audit.diff.compare import compare
from lamina.audit.diff.values import ArchiveKind, ArchiveSizes, ComparedArchive, Side, VulnerabilityChanges
from lamina.audit.formats import document as check_report
from lamina.audit.vulnerabilities.values import Release, Vulnerability
from lamina.aws.deploy import config as deploying
from lamina.aws.publish import config as publishing
from lamina.cli.main import COMMANDS, build_parser
from lamina.core.frozen import replace
from lamina.core.target import Target
from lamina.core.values import Build, Distribution, Extent, Finding, Layer, Package, Severity
from lamina.pipeline import report
from lamina.project import config, members
from lamina.project.newer_facts import forget_facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SOURCES = Path(lamina.__file__).parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """Return the text of *page* without its code blocks."""
    return re.sub(r"(?ms)^ *```.*?^ *```$", "", page.read_text("utf-8"))


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of *page* in *language*."""
    return re.findall(rf"(?ms)^ *```{language}\n(.*?)^ *```$", page.read_text("utf-8"))


def section(page: Path, heading: str) -> str:
    """Return the text of *page* below the second-level *heading*."""
    return re.split(rf"(?m)^## {re.escape(heading)}$", page.read_text("utf-8"))[1].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of the tables in *text*, without header rows."""
    table = [re.split(r"(?<!\\) ?\| ?", line.strip())[1:-1] for line in text.splitlines() if line.startswith("| ")]
    return [row for row in table if row[0].startswith(("`", "—"))]


def first_column(text: str) -> list[str]:
    return [row[0].strip("`— ") for row in rows(text)]


def anchors(page: Path) -> set[str]:
    """Return the URL fragments of *page*'s headings, in the form that GitHub generates."""
    headings = re.findall(r"(?m)^#+ (.+)$", prose(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def literals(*paths: Path) -> set[str]:
    """Return the string literals in the modules at *paths*."""
    nodes = chain.from_iterable(ast.walk(ast.parse(path.read_bytes())) for path in paths)
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command."""
    found = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(next(found).choices)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of the repository has an existing target, and every fragment has a heading."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if ":" in link.partition("/")[0]:
            continue
        if not target.exists() or (fragment and fragment not in anchors(target)):
            broken.append(link)

    assert [] == broken


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=named)
def test_every_page_is_reachable(page: Path) -> None:
    """`docs/README.md` links every page."""
    overview = DOCS / "README.md"
    linked = {(DOCS / link).resolve() for link in re.findall(r"\]\(([^)#\s]+)", prose(overview))}

    assert page == overview or page in linked


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=named)
def test_a_page_has_one_title_and_balanced_blocks(page: Path) -> None:
    """A page starts with its only first-level heading, and every code block is closed."""
    text = page.read_text("utf-8")

    assert 1 == len(re.findall(r"(?m)^# ", prose(page)))
    assert text.startswith("# ")
    assert 0 == len(re.findall(r"(?m)^ *```", text)) % 2


def test_every_extra_is_documented() -> None:
    """The installation page lists every extra except `all`, and shows how to install all of them."""
    page = DOCS / "how-to" / "install.md"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]

    assert {"all", *first_column(section(page, "Extras"))} == set(extras)
    assert "`pip install 'lamina[all]'`" in page.read_text("utf-8")


@pytest.mark.parametrize("name", generate.pages())
def test_generated_pages_are_up_to_date(name: str) -> None:
    """The generated pages are up to date; run `docs/generate.py` after a change of options or errors."""
    assert generate.pages()[name] == (generate.REFERENCE / name).read_text("utf-8")


def command_lines(page: Path) -> Iterator[list[str]]:
    """Yield the words of each `$ lamina …` line of *page*, up to the first shell operator."""
    for block in blocks(page, "console"):
        for line in block.replace("\\\n", " ").splitlines():
            match = re.match(r"\s*\$ (?:.*[|&] )?(?:\w+=\S+ )*lamina\b ?(.*)", line)
            if match:
                words = shlex.split(match[1], comments=True)
                ends = [at for at, word in enumerate(words) if word in {"|", ">", "2>", "&&", ";"}]
                yield words[: min(ends, default=len(words))]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_shown_command_lines_are_taken(page: Path) -> None:
    """Every `$ lamina …` on a page is a valid command line."""
    refused = []
    for words in command_lines(page):
        try:
            build_parser(words[0]).parse_args(words)
        except SystemExit as error:
            # `--help` and `--version` exit with 0.
            if error.code:
                refused.append(" ".join(words))

    assert [] == refused


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_options_named_in_sentences_exist(page: Path) -> None:
    """Every `lamina COMMAND --option` in a sentence names an option of that command."""
    known = {name: set(parser._option_string_actions) for name, parser in parsers().items()}
    spans = [" ".join(span.split()) for span in re.findall(r"`lamina ([a-z]+ [^`]*--[^`]*)`", prose(page))]
    named_options = [(span, word.partition("=")[0]) for span in spans for word in span.partition(" -- ")[0].split()]

    assert [] == [span for span, word in named_options if word.startswith("-") and word not in known[span.split()[0]]]


def test_the_table_of_commands_is_that_of_the_program() -> None:
    """`commands.md` lists each command with its one-line help from `lamina --help`."""
    head = generate.pages()["commands.md"].partition("## ")[0]
    shown = {re.sub(r"\[`lamina (.+)`\].*", r"\1", row[0]): row[1] for row in _plain_rows(head)}

    assert dict(COMMANDS) == shown


def _plain_rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| [")]
    return [re.split(r"(?<!\\) ?\| ?", line.strip())[1:-1] for line in lines]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_shown(name: str) -> None:
    """`commands.md` lists every option of every command."""
    page = generate.REFERENCE / "commands.md"
    shown = section(page, "Options of every command") + section(page, f"lamina {name}")
    flags = {flag for action in parsers()[name]._actions for flag in action.option_strings}

    assert set() == {flag for flag in flags if f"`{flag}`" not in shown and f"`{flag} " not in shown}


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=named)
def test_shown_targets_of_make_exist(page: Path) -> None:
    """Every `make …` on a page is a target of the Makefile."""
    targets = re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"))
    shown = [word for block in blocks(page, "console") for word in re.findall(r"(?m)^\s*\$ make ([a-z-]+)", block)]

    assert shown
    assert set() == set(shown) - set(targets)


def test_every_environment_variable_is_in_the_table() -> None:
    """`data/environment.toml` lists exactly the environment variables that modules read by a literal name."""
    declared = {
        name for group in generate.environment_groups() for row in group["variable"] for name in row["name"].split(", ")
    }
    pattern = re.compile(
        r"(CONDA|LAMINA|UV|PIP|POETRY|XDG|SSL|REQUESTS|NO)_[A-Z_]+|NETRC|TERM|HOME|APPDATA|ProgramData"
    )
    # Variables that lamina sets for uv and for functions, and names of the ARNs that it writes.
    set_for_others = {"LAMINA_LAYER", "LAMINA_COLDSTART", "UV_CACHE_DIR", "UV_NO_PROGRESS"}
    set_for_others |= {"UV_PYTHON_DOWNLOADS", "UV_PYTHON_INSTALL_BIN"}
    set_for_others |= {"LAMINA_OPT", "LAMINA_PRELUDE", "LAMINA_REPORT_FD"}
    used = {text for text in literals(*SOURCES.rglob("*.py")) if pattern.fullmatch(text)} - set_for_others
    prefixes = {name.partition("<")[0] for name in declared}
    # Names of pip's variables are composed from its keys. The standard library reads the proxies and PATH.
    made = {name for name in declared if name.startswith("PIP_") or name.endswith("_PROXY")} | {"PATH", "VIRTUAL_ENV"}

    assert set() == {name for name in used if name not in declared and name not in prefixes and name != "PIP_"}
    assert set() == {name for name in declared - made if name not in used and name.partition("<")[0] not in used}


def project(root: Path, text: str) -> Path:
    """Write a project configured by *text*, with the files that the examples name."""
    own = [f"functions/{name}/app.py" for name in ("create", "list", "count-quotes", "add-tax")]
    for path in ("service/__init__.py", "src/service/__init__.py", "shared/__init__.py", "uv.lock", *own):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    (root / "pyproject.toml").write_text(text, encoding="utf-8")
    return root


def test_documented_defaults_are_the_defaults(tmp_path: Path) -> None:
    """A documented default is the value that a configuration without the key is read to."""
    text = '[tool.lamina]\nruntime = "python3.13"\nsource = ["service"]\n[tool.lamina.functions]\nf = "service.f"\n'
    service = config.load(project(tmp_path, text))
    function, publish = service.functions[0], publishing.load(tmp_path)
    actual = {
        "architecture": str(service.target.architecture),
        "bytecode": service.bytecode.value,
        "local": service.local.value,
        "sdk": service.sdk.value,
        **{name: list(getattr(service, name)) for name in ("include", "exclude", "groups", "extras", "ignore")},
        "memory": function.memory_mb,
        "timeout": function.timeout_seconds,
        "prefix": publish.prefix,
        "share-with": list(publish.share_with),
        "storage": publish.storage.value,
        "layer-name": publish.layer_name,
    }
    page = generate.REFERENCE / "configuration.md"
    cells: dict[str, str] = {}
    for row in rows(page.read_text("utf-8")):
        if len(row) == 4:
            # The service's table comes first on the page; layers inherit from it.
            cells.setdefault(row[0].strip("`"), row[2])
    documented = {name: tomllib.loads(f"value = {cells[name].strip('`')}")["value"] for name in actual}

    assert actual == documented


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "toml")], ids=named)
def test_configuration_examples_are_taken(page: Path, tmp_path: Path) -> None:
    """Every example with a `[tool.lamina]` is valid TOML, and is read without a mistake once it is complete."""
    for number, block in enumerate(blocks(page, "toml")):
        indent = len(block) - len(block.lstrip(" "))
        text = re.sub(rf"(?m)^ {{{indent}}}", "", block)
        table = tomllib.loads(text).get("tool", {}).get("lamina")
        if table is None:
            continue
        if "workspace" in table:
            members.configured(project(tmp_path / str(number), text))
            continue
        is_library = any(layer.get("first-party") for layer in table.get("layers", {}).values())
        if "source" in table and "functions" not in table and not is_library:
            text += '[tool.lamina.functions]\nf = "service.f"\n'
        if "source" not in table and "functions" in table:
            text = text.replace("[tool.lamina]\n", '[tool.lamina]\nsource = ["service"]\n')
        if not {"runtime", "targets"} & table.keys():
            text = text.replace("[tool.lamina]\n", '[tool.lamina]\nruntime = "python3.13"\n')
        if "[tool.lamina]\n" not in text:
            text = f'[tool.lamina]\nruntime = "python3.13"\n{text}'
        root = project(tmp_path / str(number), text)
        if "template" in table:
            template = root / table["template"]
            template.parent.mkdir(parents=True, exist_ok=True)
            template.write_text("Transform: AWS::Serverless-2016-10-31\nResources: {}\n")
        if "facts" in table:
            # The next example is the file.
            (root / table["facts"]).write_text(list(blocks(page, "toml"))[number + 1])
        config.load(root)
        forget_facts()
        publishing.load(root)
        deploying.load(root)


def full_build(root: Path) -> Build:
    """Return a build with one layer, one package and one finding."""
    sha256 = "0" * 64
    distribution = Distribution(
        name="a", version="1", artifact="a.whl", sha256=sha256, zipped_bytes=1, unzipped_bytes=1
    )
    layer = Layer(
        name="common",
        path=root / "l.zip",
        digest=sha256,
        sha256=sha256,
        zipped_bytes=1,
        unzipped_bytes=1,
        files=1,
        distributions=(distribution,),
        extents=(Extent(name="a", size=1),),
    )
    package = Package(
        name="f",
        handler="m.f",
        path=root / "f.zip",
        sha256=sha256,
        zipped_bytes=1,
        unzipped_bytes=1,
        files=1,
        layers=("common",),
        total_unzipped_bytes=1,
        console_editable=True,
    )
    finding = Finding(rule="r", severity=Severity.NOTE, message="m")
    target = Target.of("python3.13", "arm64")
    return Build(
        service="s",
        target=target,
        layers=(layer,),
        packages=(package,),
        findings=(finding,),
        reused=False,
        seconds=1.0,
    )


def report_fields(document: Mapping[str, object]) -> dict[str, list[str]]:
    """Return the fields of each object of a report, by the heading of its section."""

    def first(value: object, name: str) -> dict[str, object]:
        assert isinstance(value, dict)
        item = value[name]
        found = item[0] if isinstance(item, list) else item
        assert isinstance(found, dict)
        return found

    layer = first(document, "layers")
    objects = {
        "Build": document,
        "Layer": layer,
        "Distribution": first(layer, "distributions"),
        "Segment": first(layer, "segments"),
        "Function": first(document, "functions"),
        "Limits": first(document, "limits"),
        "Finding": first(document, "findings"),
    }
    return {heading: list(each) for heading, each in objects.items()}


def test_every_field_of_the_report_is_documented(tmp_path: Path) -> None:
    """`build-report.md` lists exactly the fields of the report, in the report's order."""
    actual = report_fields(report.document(full_build(tmp_path), project=tmp_path))
    page = generate.REFERENCE / "build-report.md"

    assert actual == {heading: first_column(section(page, heading)) for heading in actual}
    assert f'the format: `"{report.VERSION}"`' in page.read_text("utf-8")


def test_every_field_of_the_check_report_is_documented() -> None:
    """`check-report.md` lists exactly the fields of the report, in the report's order."""
    document: Any = check_report.document(make_report(IMPORT, ignored=(HIDDEN,)))
    page = generate.REFERENCE / "check-report.md"
    objects = {"Report": document, "Service": document["services"][0], "Finding": document["findings"][0]}

    assert {heading: list(each) for heading, each in objects.items()} == {
        heading: first_column(section(page, heading)) for heading in objects
    }
    assert [*document["findings"][0], "reason", "until"] == [*document["ignored"][0]]
    assert f'the format: `"{check_report.VERSION}"`' in page.read_text("utf-8")


def test_every_field_of_the_diff_report_is_documented() -> None:
    """`diff-report.md` lists exactly the fields of the report, in the report's order."""
    sizes = ArchiveSizes(zipped_bytes=1, unzipped_bytes=1, bytecode_bytes=0, files=1)
    layer = ComparedArchive(kind=ArchiveKind.LAYER, name="common", sha256="a", sizes=sizes)
    flaw = Vulnerability(id="CVE-2026-1", release=Release(name="alpha", version="1"), severity=None)
    changes = compare(Side(name="one", archives=(layer,)), Side(name="two", archives=(layer,)))
    document: Any = diff_report.document(replace(changes, vulnerabilities=VulnerabilityChanges(new=(flaw,), gone=())))
    page = generate.REFERENCE / "diff-report.md"
    objects = {
        "Report": document,
        "Layer or package": document["archives"][0],
        "Side": document["archives"][0]["before"],
        "Vulnerability": document["vulnerabilities"]["new"][0],
    }

    assert {heading: list(each) for heading, each in objects.items()} == {
        heading: [name for cell in first_column(section(page, heading)) for name in cell.split("`, `")]
        for heading in objects
    }
    assert f'the format: `"{diff_report.VERSION}"`' in page.read_text("utf-8")


def test_every_area_of_the_store_is_documented() -> None:
    """`store.md` shows every directory of the store."""
    areas = {
        match
        for path in SOURCES.rglob("*.py")
        for match in re.findall(r'(?m)^_?[A-Z_]*AREA = "([a-z-]+)"', path.read_text("utf-8"))
    }
    page = (generate.REFERENCE / "store.md").read_text("utf-8")

    assert {"segments", "bytecode", "reach"} <= areas
    assert set() == {area for area in areas if f"\n{area}/" not in page}
