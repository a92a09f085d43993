"""Facts that are newer than the installed lamina come from a file of the project."""

from __future__ import annotations

import datetime as dt
import json
import os
from typing import TYPE_CHECKING

import pytest

from lamina.aws.api.facts import waiter_seconds
from lamina.cli.main import main
from lamina.core.errors import ConfigError, InvalidConfigError
from lamina.core.target import Target, quotas, runtimes
from lamina.core.toml import read_data
from lamina.pipeline import report, workspace
from lamina.project import config
from lamina.project.functions import setting
from lamina.project.newer_facts import forget_facts
from lamina.project.options import BuildOptions
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

    from services import Service

_NEXT = """\
[[runtime]]
name = "python3.16"
python = [3, 16]
operating_system = "Amazon Linux 2023"
glibc = [2, 38]
architectures = ["x86_64"]
source = "a page"
read = 2027-11-02

[[interpreter]]
runtime = "python3.16"
version = "3.16.1"
source = "a log"
read = 2027-11-02

[[preinstalled]]
name = "boto3"
runtimes = ["python3.14", "python3.16"]
version = "1.60.0"
source = "a log"
read = 2027-11-02
"""


def _row(table: str, name: str, /, **changed: object) -> str:
    """Return the row *name* of lamina's own *table* as TOML, with *changed* values and a date that is newer by default."""
    own = next(
        row
        for file in ("runtimes.toml", "quotas.toml", "functions.toml", "aws.toml")
        for row in read_data(file).get(table, ())
        if name in {row.get("name"), row.get("runtime")}
    )
    row = own | {"read": dt.date(2027, 1, 1)} | changed
    lines = [f"{key} = {value if isinstance(value, dt.date) else json.dumps(value)}" for key, value in row.items()]
    return "\n".join((f"[[{table}]]", *lines, ""))


def _service(directory: Path, facts: str, *, runtime: str = "python3.13") -> Service:
    service = make_service(directory)
    service.settings |= {"facts": '"facts.toml"', "runtime": f'"{runtime}"'}
    (service.write() / "facts.toml").write_text(facts)
    return service


def test_changed_rows(tmp_path: Path) -> None:
    """Newer rows replace lamina's own: limits, dates of runtimes, settings of functions and waiters."""
    facts = (
        _row("quota", "layers", value=7)
        + _row("setting", "timeout", most=7_200)
        + _row("waiter", "FunctionUpdated", seconds=600)
        + _row("runtime", "python3.13", deprecation=dt.date(2029, 7, 1))
    )
    before = (quotas().layers, setting("timeout").most, waiter_seconds("FunctionUpdated"))
    config.load(_service(tmp_path, facts).root)

    assert (7, 7_200, 600) == (quotas().layers, setting("timeout").most, waiter_seconds("FunctionUpdated"))
    assert dt.date(2029, 7, 1) == next(each.deprecation for each in runtimes() if each.name == "python3.13")
    assert sorted(runtimes(), key=lambda runtime: runtime.python) == list(runtimes())

    forget_facts()
    assert before == (quotas().layers, setting("timeout").most, waiter_seconds("FunctionUpdated"))


def test_new_runtime(tmp_path: Path) -> None:
    """A new runtime has its own interpreter, glibc and architectures, and its preinstalled packages."""
    service = config.load(_service(tmp_path, _NEXT, runtime="python3.16").root)
    newest = runtimes()[-1]

    assert (
        Target(runtime="python3.16", architecture=service.target.architecture, python=(3, 16), glibc=(2, 38))
        == service.target
    )
    assert "3.16.1" == service.target.markers["python_full_version"]
    assert "manylinux_2_38_x86_64" == service.target.platforms[0]
    assert [("boto3", "1.60.0")] == [(each.name, each.version) for each in newest.preinstalled]
    before = next(each for each in runtimes() if each.name == "python3.14").preinstalled
    assert ["1.60.0"] == [each.version for each in before if each.name == "boto3"]
    assert ["1.40.4"] == [each.version for each in before if each.name == "botocore"]
    with pytest.raises(ConfigError, match="does not offer"):
        Target.of("python3.16", "arm64")


@pytest.mark.parametrize(
    ("words", "table", "fact"),
    [
        (["deploy", "--alias", "live"], "", "`live` is not a valid alias name"),
        (["deploy"], '[tool.lamina.deploy]\nalias = "live"', "tool.lamina.deploy.alias: `live` is not a valid alias name"),
        (["publish", "--region", "eu-west-1"], "", "`eu-west-1` is not a valid region name"),
        (["prune", "--region", "eu-west-1"], "", "`eu-west-1` is not a valid region name"),
        (["publish"], '[tool.lamina.publish]\nlicense = "MIT"', "tool.lamina.publish.license: the text has 3 characters"),
    ],
)  # fmt: skip
def test_facts_that_check_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], table: str, fact: str
) -> None:
    """Options and the tables for commands are checked against newer facts, too, although they are read first."""
    facts = (
        _row("pattern", "alias", pattern="[0-9]")
        + _row("pattern", "region", pattern="moon")
        + _row("quota", "layer_license_characters", value=2)
    )
    root = _service(tmp_path, facts).root
    with (root / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(table)

    assert 2 == main([*words, "--project", str(root)])
    assert fact in capsys.readouterr().err


def test_runtime_that_is_no_longer_a_preview(tmp_path: Path) -> None:
    """A newer row of a runtime may lack the date since which it is a preview."""
    row = "".join(line for line in _row("runtime", "python3.15").splitlines(keepends=True) if "preview" not in line)
    config.load(_service(tmp_path, row).root)

    assert [None] == [each.preview for each in runtimes() if each.name == "python3.15"]


def test_older_rows(tmp_path: Path) -> None:
    """A row that was read before lamina's own is not used, and a note names it: the file was written for an older lamina."""
    service = config.load(_service(tmp_path, _row("quota", "layers", value=7, read=dt.date(2026, 1, 1))).root)

    assert 5 == quotas().layers
    assert ("`facts.toml`: lamina has newer information about 1 fact and uses it: `quota layers`",) == service.notes


@pytest.mark.parametrize(
    ("facts", "key", "fact"),
    [
        ("[[runtimes]]\na = 1\n", "runtimes", "unknown table (did you mean `runtime`?)"),
        ("[quota]\na = 1\n", "quota", "expected a list of tables, found a table: write `[[quota]]`"),
        ("quota = [1]\n", "quota", "expected a list of tables, found a list: write `[[quota]]`"),
        (_row("quota", "layers", value="7"), "quota[0].value", "expected an integer, found a string"),
        (_row("quota", "layers", value=True), "quota[0].value", "expected an integer, found a boolean"),
        (_row("quota", "layers", value=0), "quota[0].value", "expected a number above 0"),
        (_row("quota", "layers", vale=7), "quota[0].vale", "unknown key (did you mean `value`?)"),
        (_row("quota", "layers", name="layer"), "quota[0].name", "unknown quota `layer` (did you mean `layers`?)"),
        (_row("quota", "layers", source=""), "quota[0].source", "the string is empty"),
        (_row("quota", "layers", read="2027"), "quota[0].read", "expected a date, found a string"),
        ('[[quota]]\nname = "layers"\nvalue = 7\nread = 2027-01-01\n', "quota[0].source", "missing required key"),
        (_row("setting", "memory").replace("most = 32768\n", ""), "setting[0].most", "missing required key"),
        (_row("runtime", "python3.13").replace("block_update = 2029-08-31\n", ""), "runtime[0].block_update", "missing required key"),
        (_row("setting", "memory", least=129), "setting[0].default", "128 is less than `least`, 129"),
        (_row("setting", "memory", default=10_241), "setting[0].ordinary", "10240 is less than `default`, 10241"),
        (_row("setting", "timeout", most=1_799), "setting[0].most", "1799 is less than `ordinary`, 1800"),
        (_row("runtime", "python3.13", block_create=dt.date(1, 1, 1)), "runtime[0].block_create", "0001-01-01 is before `deprecation`, 2029-06-30"),
        (_row("quota", "layers") * 2, "quota[1]", "states the same fact as a row above; remove one of them"),
        (_row("setting", "timeout", default="3"), "setting[0].default", "expected an integer, found a string"),
        (_row("pattern", "alias", pattern="["), "pattern[0].pattern", "`[` is not a regular expression: unterminated character set at position 0"),
        (_row("state", "Active", latest="wait"), "state[0].latest", "unknown value `wait` (did you mean `waiting`?)"),
        (_row("runtime", "python3.13", glibc=[2]), "runtime[0].glibc", "expected two numbers, such as `[3, 13]`"),
        (_row("runtime", "python3.13", glibc=[2, "34"]), "runtime[0].glibc", "expected two numbers, such as `[3, 13]`"),
        (_row("runtime", "python3.13", architectures=["arm"]), "runtime[0].architectures", "unknown value `arm` (did you mean `arm64`?)"),
        (_row("runtime", "python3.13", architectures=[]), "runtime[0].architectures", "expected a list of strings with at least one item"),
        (_row("runtime", "python3.13", python=[3, 12]), "runtime[0].python", "Python 3.12 is not that of `python3.13`"),
        (_NEXT.partition("[[interpreter]]")[0], "runtime[0]", "no `[[interpreter]]` table has the version of `python3.16`"),
        (_row("interpreter", "python3.13", version="3.12.1"), "interpreter[0].version", "`3.12.1` is no release of Python 3.13"),
        (_row("preinstalled", "six", runtimes=["python3.131"]), "preinstalled[0].runtimes", "unknown runtime `python3.131` (did you mean `python3.13`?)"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, facts: str, key: str, fact: str) -> None:
    """Each row is checked like lamina's own, and the error names the file and the key; the facts stay as they were."""
    with pytest.raises(InvalidConfigError) as caught:
        config.load(_service(tmp_path, facts).root)

    assert "facts.toml" == caught.value.file
    assert ((key, fact),) == caught.value.mistakes
    assert 5 == quotas().layers


@pytest.mark.parametrize("content", [b"[[quota\n", b"\xff\xfe", b"quota = " + b"[" * 10_000])
def test_file_that_is_not_toml(tmp_path: Path, content: bytes) -> None:
    """A file that is not TOML is an error that names it."""
    path = _service(tmp_path, "").root / "facts.toml"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"^`facts\.toml` is "):
        config.load(path.parent)


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "large"])
def test_unreadable_file(tmp_path: Path, kind: str) -> None:
    """A file that cannot be read is a mistake in the configuration, and is reported together with the others."""
    service = _service(tmp_path, "", runtime="python3.31")
    path = service.root / "facts.toml"
    if kind == "large":
        path.write_bytes(b"#" * 1_000_001)
    else:
        path.unlink()
    if kind == "directory":
        path.mkdir()
    if kind == "pipe":
        os.mkfifo(path)

    with pytest.raises(InvalidConfigError) as caught:
        config.load(service.root)
    assert ["tool.lamina.facts", "tool.lamina.runtime"] == [key for key, _ in caught.value.mistakes]
    assert caught.value.mistakes[0][1].startswith("could not read `facts.toml`: ")


def test_changed_file_is_an_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A build with nothing to do notices that the file has changed, and then uses the new facts; so do commands that only read a build."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    service = _service(tmp_path, _NEXT, runtime="python3.16")
    build = ["build", "--json", "--project", str(service.root)]
    for limit, is_reused in ((262_144_000, False), (262_144_000, True), (500_000_000, True)):
        (service.root / "facts.toml").write_text(_NEXT + _row("quota", "unzipped_bytes", value=limit))
        forget_facts()

        assert 0 == main(build)
        document = json.loads(capsys.readouterr().out)
        assert (limit, is_reused) == (document["limits"]["unzipped_bytes"], document["reused"])

    forget_facts()
    assert "python3.16" == report.read(service.root).target.runtime


@pytest.mark.parametrize("fact", ["interpreter", "glibc"])
def test_facts_that_decide_a_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fact: str) -> None:
    """Another version of the runtime's Python, or another glibc, selects other packages, although the lock file is the same."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    service = make_service(tmp_path)
    service.settings |= {"facts": '"facts.toml"'}
    service.add("gamma", "1.0", {"gamma.py": ""}, tag="cp313-cp313-manylinux_2_34_x86_64")
    service.markers["gamma"] = "python_full_version < '3.13.50'"
    newer = {
        "interpreter": _row("interpreter", "python3.13", version="3.13.60"),
        "glibc": _row("runtime", "python3.13", glibc=[2, 26]),
    }
    build = ["build", "--project", str(service.write())]
    (service.root / "facts.toml").write_text("")

    assert 0 == main(build)
    first = report.read(service.root).layers[0]
    assert "gamma" in {each.name for each in first.distributions}
    (service.root / "facts.toml").write_text(newer[fact])
    code = main(build)
    if fact == "glibc":
        assert 3 == code
    else:
        second = report.read(service.root).layers[0]
        assert "gamma" not in {each.name for each in second.distributions}
        assert first.digest != second.digest


def test_services_with_different_facts(tmp_path: Path) -> None:
    """Services that one command builds must use the same facts, because the facts of a process are the same for all."""
    first, second = _service(tmp_path / "a", _row("quota", "layers")), make_service(tmp_path / "b")
    projects = [first.root, second.write()]
    config.load(first.root)

    with pytest.raises(ConfigError, match="use different facts"):
        config.load(second.root)
    forget_facts()
    with pytest.raises(ConfigError, match="use different facts"):
        list(workspace.build(projects, BuildOptions()))
