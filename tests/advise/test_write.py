"""Put a layout into the configuration, and change nothing else."""

from __future__ import annotations

import textwrap
import tomllib
from typing import TYPE_CHECKING

import pytest

from advise.made import make_needs
from lamina.advise.layouts import one_layer, zips_with_everything, zips_with_needed
from lamina.advise.values import Layout, LayoutFunction, LayoutLayer
from lamina.advise.write import layout_change
from lamina.core.errors import ConfigError
from lamina.project.config import load
from lamina.project.service import Packaging

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.advise.values import Needs

SERVICE = """\
[project]
name = "shop"
version = "1"

[tool.lamina]
runtime = "python3.13"  # the newest
source = ["service"]

# Ours.
[tool.lamina.functions]
list = "service.list.handler"  # quick
report = { handler = "service.report.handler", memory = 512 }  # slow

[tool.ruff]
line-length = 100
"""
NEEDS = make_needs({"core": 20, "numpy": 60, "pandas": 90}, {"list": "core", "report": "core numpy pandas"})
TWO_LAYERS = Layout(
    title="two",
    layers=(
        LayoutLayer(name="common", distributions=frozenset({"core"})),
        LayoutLayer(name="pandas", distributions=frozenset({"numpy", "pandas"})),
    ),
    functions=(
        LayoutFunction(name="list", packaging=Packaging.LAYER, layers=("common",)),
        LayoutFunction(name="report", packaging=Packaging.LAYER, layers=("common", "pandas")),
    ),
)


def _project(directory: Path, text: str = SERVICE, name: str = "pyproject.toml") -> Path:
    (directory / "service").mkdir()
    (directory / name).write_text(text, newline="")
    return directory


def _changed(project: Path, layout: Layout, needs: Needs = NEEDS) -> tuple[str, ...]:
    """Write *layout*, and return the lines that are removed and added. Writing it again changes nothing."""
    found = layout_change(load(project), needs, layout)
    assert found is not None
    found.change.write()
    assert layout_change(load(project), needs, layout) is None
    return tuple(line for line in found.change.diff[2:] if line[0] in "+-")


def test_several_layers(tmp_path: Path) -> None:
    """The common layer names what it leaves out, so that a new dependency is in it. Comments stay."""
    assert (
        '-report = { handler = "service.report.handler", memory = 512 }  # slow',
        '+report = { handler = "service.report.handler", memory = 512, layers = ["common", "pandas"] }  # slow',
        "+",
        "+[tool.lamina.layers.common]",
        '+without = ["numpy", "pandas"]',
        "+",
        "+[tool.lamina.layers.pandas]",
        '+only = ["numpy", "pandas"]',
    ) == _changed(_project(tmp_path), TWO_LAYERS)


def test_zips_with_everything(tmp_path: Path) -> None:
    assert ('+packaging = "zip"',) == _changed(_project(tmp_path), zips_with_everything(NEEDS))


def test_back_to_one_layer(tmp_path: Path) -> None:
    """Nothing of another layout stays."""
    project = _project(tmp_path)
    _changed(project, TWO_LAYERS)
    _changed(project, zips_with_needed(NEEDS))
    _changed(project, one_layer(NEEDS))

    assert "layers" not in (project / "pyproject.toml").read_text()
    assert "packaging" not in (project / "pyproject.toml").read_text()
    assert "# quick" in (project / "pyproject.toml").read_text()


def test_zips_with_what_is_needed(tmp_path: Path) -> None:
    """The layer that no function has lists what the service selects: a new function has it, and so do other layouts."""
    project = _project(tmp_path)
    needs = make_needs({"core": 20, "numpy": 60, "idna": 1}, {"list": "core", "report": "core numpy"})
    found = layout_change(load(project), needs, zips_with_needed(needs))
    assert found is not None
    assert "no function has `idna`, because none is known to need it" in found.notes[0]
    found.change.write()
    service = load(project)

    assert [("list", ("only-list",)), ("report", ("only-report",))] == [
        (each.name, each.bundled) for each in service.functions
    ]
    assert [("common", None, ()), ("only-list", ("core",), ()), ("only-report", ("core", "numpy"), ())] == [
        (each.name, each.only, each.without) for each in service.bundles
    ]


def test_what_the_service_leaves_out_stays_out(tmp_path: Path) -> None:
    """All ways back lead to the same file."""
    text = SERVICE.replace("\n# Ours", '\n[tool.lamina.layers.common]\nwithout = ["boto3"]\n\n# Ours')
    text = text.replace('{ handler = "service.report.handler", memory = 512 }', '"service.report.handler"')
    project = _project(tmp_path, text)
    needs = make_needs({"core": 20, "numpy": 60, "idna": 1}, {"list": "core", "report": "core numpy"})
    for layout in (zips_with_needed(needs), zips_with_everything(needs), one_layer(needs)):
        _changed(project, layout, needs)

    assert (project / "pyproject.toml").read_text() == text


def test_a_table_of_its_own(tmp_path: Path) -> None:
    text = 'runtime = "python3.13"\nsource = ["service"]\n[functions.list]\nhandler = "service.list.handler"\n# end\n\n[functions]\nreport = "service.report.handler"\n'

    assert (
        '-report = "service.report.handler"',
        '+report = { handler = "service.report.handler", layers = ["common", "pandas"] }',
        "+",
        "+[layers.common]",
        '+without = ["numpy", "pandas"]',
        "+",
        "+[layers.pandas]",
        '+only = ["numpy", "pandas"]',
    ) == _changed(_project(tmp_path, text, "lamina.toml"), TWO_LAYERS)


FORMS = {
    "dotted keys": """\
        [tool.lamina]
        runtime = "python3.13"
        source = ["service"]
        functions.list = "service.list.handler"
        functions.report = "service.report.handler"
        """,
    "an inline table of functions": """\
        [tool.lamina]
        runtime = "python3.13"
        source = ["service"]
        functions = { list = "service.list.handler", report = "service.report.handler" }  # both
        """,
    "one inline table": """\
        tool.lamina = { runtime = "python3.13", source = ["service"], functions = { list = "a.b", report = "a.c" } }
        """,
    "quotes and comments": """\
        [tool."lamina"]
        runtime = "python3.13"
        source = [
          "service", # ours
        ]
        # more
        [tool.lamina."functions"]
        "list" = "service.list.handler"
        [tool.lamina.functions.report]
        handler = \'\'\'service.report.handler\'\'\'
        [tool.z]
        """,
    "tables in any order": """\
        [tool.lamina.functions.report]
        handler = "service.report.handler"
        [a]
        [tool.lamina]
        runtime = "python3.13"
        source = ["service"]
        [[tool.lamina.ignore]]
        rule = "unknown-rule"
        reason = "ours"
        [tool.lamina.functions]
        list = "service.list.handler"
        [tool.lamina.layers]
        common = {}
        """,
    "dotted keys of functions": """\
        [tool.lamina]
        runtime = "python3.13"
        source = ["service"]
        [tool.lamina.functions]
        list.handler = "service.list.handler"
        list.memory = 512
        report.handler = "service.report.handler"
        """,
}
UNCHANGEABLE = "written in a way that lamina cannot change"


def test_what_cannot_be_changed_is_left_alone(tmp_path: Path) -> None:
    project = _project(tmp_path, textwrap.dedent(FORMS["one inline table"]))

    with pytest.raises(ConfigError, match=UNCHANGEABLE):
        layout_change(load(project), NEEDS, TWO_LAYERS)


@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"one inline table"}))
def test_however_it_is_written(tmp_path: Path, form: str) -> None:
    """Each layout follows another one. Everything else stays, and so does each comment."""
    text = textwrap.dedent(FORMS[form])
    project = _project(tmp_path, text)
    for layout in (TWO_LAYERS, zips_with_needed(NEEDS), one_layer(NEEDS), zips_with_everything(NEEDS)):
        _changed(project, layout)

        assert [each.packaging for each in layout.functions] == [each.packaging for each in load(project).functions]
    after = (project / "pyproject.toml").read_text()

    assert tomllib.loads(text)["tool"]["lamina"]["source"] == tomllib.loads(after)["tool"]["lamina"]["source"]
    assert text.count("#") == after.count("#")


def test_groups_of_layers_are_kept(tmp_path: Path) -> None:
    """Layers by groups become layers by names, which select from all of these groups. A budget stays with its layer."""
    text = textwrap.dedent("""\
        runtime = "python3.13"
        source = ["service"]
        exclude = ["**/tests"]

        [functions]
        list = "service.list.handler"
        report = { handler = "service.report.handler", layers = ["common", "big"] }

        [layers.common]
        without = ["boto3"]
        max-unzipped = "200 MB"

        [layers.big]
        groups = ["big"]
        minus = ["common"]
        """)
    project = _project(tmp_path, text, "lamina.toml")
    _changed(project, TWO_LAYERS)
    common, pandas = load(project).layers

    assert (("big",), ("boto3", "numpy", "pandas"), 200_000_000) == (
        common.groups,
        common.without,
        common.budget.max_unzipped,
    )
    assert (("big",), ("numpy", "pandas"), ("**/tests",)) == (pandas.groups, pandas.only, pandas.exclude)


def test_the_only_layer_keeps_its_name(tmp_path: Path) -> None:
    """A layer with another name would be another layer in AWS."""
    text = SERVICE + "\n[tool.lamina.layers.base]\n"
    project = _project(tmp_path, text)
    assert layout_change(load(project), NEEDS, one_layer(NEEDS)) is None
    _changed(project, TWO_LAYERS)

    assert [("base",), ("base", "pandas")] == [each.layers for each in load(project).functions]


def test_the_only_layer_has_the_name_of_another_one(tmp_path: Path) -> None:
    """That layer gets it, so the first one has its own."""
    project = _project(tmp_path, SERVICE + "\n[tool.lamina.layers.Pandas]\n")
    _changed(project, TWO_LAYERS)

    assert [("common",), ("common", "pandas")] == [each.layers for each in load(project).functions]


def test_layers_that_name_what_they_have_stay_so(tmp_path: Path) -> None:
    """What is locked and in no layer stays out."""
    text = SERVICE + '\n[tool.lamina.layers.common]\nonly = ["core", "numpy", "pandas"]\n'
    project = _project(tmp_path, text)
    _changed(project, TWO_LAYERS)

    assert [("core",), ("numpy", "pandas")] == [each.only for each in load(project).layers]


def test_functions_of_a_template(tmp_path: Path) -> None:
    """They are written into the configuration only if they differ."""
    _project(tmp_path, 'architecture = "arm64"\n', "lamina.toml")
    (tmp_path / "service" / "list.py").touch()
    function = "  {0}:\n    Type: AWS::Serverless::Function\n    Properties:\n      Handler: list.handler\n      CodeUri: service\n      Runtime: python3.13\n      Architectures: [arm64]\n      MemorySize: 256\n"
    (tmp_path / "template.yaml").write_text(
        "Transform: AWS::Serverless-2016-10-31\nResources:\n" + "".join(map(function.format, ("list", "report")))
    )

    assert ('+packaging = "zip"',) == _changed(tmp_path, zips_with_everything(NEEDS))
    _changed(tmp_path, one_layer(NEEDS))
    found = layout_change(load(tmp_path), NEEDS, TWO_LAYERS)
    before = load(tmp_path)
    assert found is not None
    found.change.write()
    service = load(tmp_path)

    assert "the functions are now those of the configuration" in found.notes[0]
    assert [("list", ("common",)), ("report", ("common", "pandas"))] == [
        (each.name, each.layers) for each in service.functions
    ]
    assert [(each.handler, each.source, each.memory_mb) for each in before.functions] == [
        (each.handler, each.source, each.memory_mb) for each in service.functions
    ]
    assert before.target == service.target


@pytest.mark.parametrize(
    ("layers", "error"),
    [
        ("[layers.common]\nfirst-party = true\n", "`first-party`"),
        ('[layers.common]\nexclude = ["a"]\n[layers.other]\n', "different `exclude`"),
    ],
)
def test_what_a_layout_cannot_express(tmp_path: Path, layers: str, error: str) -> None:
    functions = '[functions]\nlist = { handler = "a.b", source = ["service"] }\nreport = { handler = "a.b", source = ["service"] }\n'
    project = _project(tmp_path, f'runtime = "python3.13"\nsource = ["service"]\n{functions}{layers}', "lamina.toml")

    with pytest.raises(ConfigError, match=error):
        layout_change(load(project), NEEDS, TWO_LAYERS)


def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    project = _project(tmp_path)
    found = layout_change(load(project), NEEDS, TWO_LAYERS)
    assert found is not None
    found.change.path.write_text(SERVICE + "# more\n")

    with pytest.raises(ConfigError, match="was changed meanwhile"):
        found.change.write()


def test_line_ends_and_the_byte_order_mark_stay(tmp_path: Path) -> None:
    project = _project(tmp_path, "\ufeff" + SERVICE.replace("\n", "\r\n"))
    (project / "pyproject.toml").chmod(0o640)
    _changed(project, TWO_LAYERS)
    content = (project / "pyproject.toml").read_bytes()

    assert content.startswith(b"\xef\xbb\xbf[project]\r\n")
    assert content.count(b"\n") == content.count(b"\r\n")
    assert (project / "pyproject.toml").stat().st_mode & 0o777 == 0o640


def test_a_link_out_of_the_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.toml").write_text(SERVICE)
    project = tmp_path / "project"
    (project / "service").mkdir(parents=True)
    (project / "pyproject.toml").symlink_to("../elsewhere.toml")

    with pytest.raises(ConfigError, match="symbolic link out of"):
        layout_change(load(project), NEEDS, TWO_LAYERS)


UNTOUCHED = """\
# ours
[tool.x]
text = '''
[tool.lamina]
# [tool.lamina.functions]
'''
list = [
  ["a"]
]
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_that_look_like_headers(tmp_path: Path, end: str) -> None:
    """A header can be indented, and a line in a string or a list is none."""
    text = UNTOUCHED.replace("[tool.x]", "[tool.w]") + textwrap.indent(SERVICE, "  ") + UNTOUCHED
    project = _project(tmp_path, text.replace("\n", end))
    for layout in (TWO_LAYERS, zips_with_needed(NEEDS)):
        _changed(project, layout)
    after = (project / "pyproject.toml").read_bytes().decode()

    assert "  [tool.lamina.layers.only-list]" + end + '  only = ["core"]' in after
    assert after.count(UNTOUCHED.replace("\n", end)) == 1
    _changed(project, one_layer(NEEDS))
    assert text.replace("\n", end) == (project / "pyproject.toml").read_bytes().decode()


COMMENTED = """\
[tool.lamina]
runtime = "python3.13"
source = ["service"]
packaging = "zip"  # why

[tool.lamina.layers.common]
# mine
without = ["pandas", "numpy"]

# The functions
[tool.lamina.functions.list]
handler = "service.list.handler"
[tool.lamina.functions.report]
handler = "service.report.handler"
layers = ["common", "heavy"]
# after report

# The heavy ones
[tool.lamina.layers.heavy]  # heavy
only = [
  "pandas",  # big
  "numpy",
]
# -----
# ruff: as agreed
# -----
[tool.ruff]
line-length = 100"""


@pytest.mark.parametrize("layout", [one_layer(NEEDS), zips_with_everything(NEEDS)], ids=lambda each: each.title)
def test_comments_of_what_stays(tmp_path: Path, layout: Layout) -> None:
    """What goes with a layer or a key is named. No line is added or removed beyond that."""
    project = _project(tmp_path, COMMENTED)
    found = layout_change(load(project), NEEDS, layout)
    assert found is not None
    kept = "# The functions", "# after report", "# -----\n# ruff: as agreed\n# -----\n[tool.ruff]\nline-length = 100"
    gone = ["# mine", "# The heavy ones", "# heavy", "# big"]

    assert all(each in found.change.after.decode() for each in kept)
    if layout == one_layer(NEEDS):
        gone.insert(0, "# why")
    assert found.notes == (f"comments go with what they are about: {', '.join(f'`{each}`' for each in gone)}",)
    assert not [line for line in found.change.diff if line in {"+", "-"}][2:]


def test_an_empty_layer_stays_as_it_is(tmp_path: Path) -> None:
    project = _project(tmp_path, SERVICE + "\n[tool.lamina.layers.common]\n# mine\n")

    assert layout_change(load(project), NEEDS, one_layer(NEEDS)) is None


def test_mixed_line_ends_stay(tmp_path: Path) -> None:
    """A new line ends like the one before it."""
    text = SERVICE.replace("# the newest\n", "# the newest\r\n").replace("\n[tool.ruff]", "\r\n[tool.ruff]")
    project = _project(tmp_path, text)
    _changed(project, TWO_LAYERS)
    after = (project / "pyproject.toml").read_bytes().decode()

    assert after.count("\r\n") == 2
    _changed(project, one_layer(NEEDS))
    assert (project / "pyproject.toml").read_bytes().decode().replace(", memory = 512", "") == text.replace(
        ", memory = 512", ""
    )


def test_the_budget_of_a_layer_that_goes(tmp_path: Path) -> None:
    budgets = 'max-unzipped = "200 MB"\nmax-growth = "1 MB"\n'
    project = _project(tmp_path, f"{SERVICE}\n[tool.lamina.layers.common]\n[tool.lamina.layers.extra]\n{budgets}")
    found = layout_change(load(project), NEEDS, one_layer(NEEDS))
    assert found is not None

    assert found.notes == ("layer `extra` loses its budget: `max-growth`, `max-unzipped`",)
