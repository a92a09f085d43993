"""Tests of `lamina check --venv`: what differs between a virtual environment and the layers, and what explains it."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from lamina.audit.environment.cures import Cures
from lamina.audit.families import environment
from lamina.audit.inspection import Inspection
from lamina.core.errors import ConfigError
from lamina.core.frozen import replace
from lamina.core.reporter import SILENT
from lamina.core.store import Store
from lamina.lock.types import LockFile
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from services import Service
from wheels import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.values import Build, Finding

NATIVE = "cp313-cp313-manylinux_2_17_x86_64"
MAC = "cp313-cp313-macosx_11_0_arm64"


@dataclass
class Desk:
    """A service with a virtual environment that a test changes by hand."""

    service: Service
    venv: Path
    store: Store
    python: str = "3.13"
    artifact: str | None = None
    """What the layers say that each distribution was made from; ``None`` for its wheel."""

    @property
    def site(self) -> Path:
        return self.venv / f"lib/python{self.python}/site-packages"

    def create(self, *wheels: Path) -> None:
        """Create the environment with *wheels*."""
        self.site.mkdir(parents=True)
        (self.venv / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion_info = {self.python}.1\n")
        for wheel in wheels:
            self.install(wheel)

    def install(self, wheel: Path, **more: str) -> None:
        """Install *wheel* as pip does, with *more* files in its metadata."""
        name, version = wheel.name.split("-")[:2]
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.site)
        info = f"{name}-{version}.dist-info"
        added = {"INSTALLER": "pip\n", "REQUESTED": "", **more}
        for path, content in added.items():
            (self.site / info / path).write_text(content)
        data, record_path = self.site / f"{name}-{version}.data/data", self.site / info / "RECORD"
        if data.is_dir():
            shutil.copytree(data, self.venv, dirs_exist_ok=True)
            shutil.rmtree(data.parent)
            record_path.write_text(record_path.read_text().replace(f"{data.parent.name}/data", "../../.."))
        with record_path.open("a") as record:
            record.writelines(f"{info}/{path},,\n" for path in added)
            record.write(f"../../../bin/{name},sha256=AAAA,1\n{name}/__pycache__/x.cpython-313.pyc,,\n")

    def check(self, venv: Path | None = None) -> list[Finding]:
        project = self.service.write()
        result = build(project, BuildOptions(), store=self.store)
        inspection = Inspection(
            project=project,
            service=result.plan.service,
            builds=tuple(self._stated(each.build) for each in result.targets),
            store=self.store,
            reporter=SILENT,
            today=dt.date(2026, 11, 28),
            venv=self.venv if venv is None else venv,
        )
        return list(environment.check(inspection))

    def _stated(self, build: Build) -> Build:
        if self.artifact is None:
            return build
        layers = [
            replace(layer, distributions=tuple(replace(each, artifact=self.artifact) for each in layer.distributions))
            for layer in build.layers
        ]
        return replace(build, layers=tuple(layers))

    def messages(self) -> list[tuple[str, str]]:
        """Return the rule and the message of each finding, with the paths of the test left out."""
        shown, root = os.path.relpath(self.venv), os.path.relpath(self.service.root)
        found = [(each.rule, each.message) for each in self.check()]
        return [(rule, message.replace(shown, ".venv").replace(f"{root}/", "")) for rule, message in found]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    service = Service(root=tmp_path / "project", wheels=tmp_path / "wheels")
    return Desk(service=service, venv=tmp_path / "project" / ".venv", store=Store(tmp_path / "store"))


@pytest.mark.parametrize("python", ["3.12", "3.13"])
def test_the_same_lock(desk: Desk, python: str) -> None:
    """An environment with the locked wheels has no finding, whatever an installer adds to it."""
    desk.python = python
    desk.service.settings["runtime"] = f'"python{python}"'
    tag = NATIVE.replace("313", python.replace(".", ""))
    alpha = desk.service.add("alpha", "1.0", {"alpha/__init__.py": "x = 1\n", "alpha-1.0.data/data/share/a.txt": "a\n"})
    native = desk.service.add("native", "2.0", {"native/core.so": b"elf", "native/__init__.py": ""}, tag=tag)
    desk.create(alpha, native)
    (desk.site / "_virtualenv.pth").write_text("import _virtualenv")
    (desk.site / "alpha" / "__pycache__").mkdir()
    (desk.site / "alpha" / "__pycache__" / "__init__.py").write_text("not a module")

    assert [] == desk.messages()


def test_another_version(desk: Desk) -> None:
    """A distribution of another version is found, with both versions and the layer; other spellings of a version are the same."""
    desk.service.add("alpha", "1.1")
    beta = desk.service.add("beta", "1.0")
    desk.create(make_wheel(desk.service.wheels, "alpha", "1.0"), beta)

    command = "uv pip install --python .venv --requirement pylock.toml"
    assert [
        ("environment-version", f"`alpha` 1.0 is in `.venv`, but 1.1 in the layers (`common`); run `{command}`")
    ] == desk.messages()


def test_files(desk: Desk) -> None:
    """Edited, deleted and added files of a distribution are found, also if the size is the same."""
    alpha = desk.service.add("alpha", "1.0", {"alpha/a.py": "x = 1\n", "alpha/b.py": "", "alpha/c.py": ""})
    desk.create(alpha)
    (desk.site / "alpha/a.py").write_text("x = 2\n")
    (desk.site / "alpha/b.py").unlink()
    (desk.site / "alpha/d.py").touch()
    with (desk.site / "alpha-1.0.dist-info/RECORD").open("a") as record:
        record.write("alpha/d.py,,\n")

    assert [
        (
            "environment-file",
            (
                "3 files of `alpha` 1.0 in `.venv` are not as in the wheel: changed: `alpha/a.py`; missing: `alpha/b.py`; "
                "not in the wheel: `alpha/d.py`; install it again: "
                "`uv pip install --python .venv --requirement pylock.toml --reinstall-package alpha`"
            ),
        )
    ] == desk.messages()


def test_missing_and_extra(desk: Desk) -> None:
    """Distributions of the layers that are not installed are found, and installed ones and modules that nothing locks."""
    alpha = desk.service.add("alpha", "1.0")
    desk.service.add("beta", "1.0")
    desk.create(alpha, make_wheel(desk.service.wheels, "stranger", "1.0"))
    (desk.site / "patch.py").touch()
    (desk.site / "alpha" / "more.py").touch()

    command = "uv pip install --python .venv --requirement pylock.toml"
    assert [
        ("environment-missing", f"`beta` is in the layers, but not in `.venv`; run `{command}`"),
        (
            "environment-extra",
            (
                "`stranger` is in `.venv`, but neither in the layers nor in the lock file, so code that imports it works only "
                "here; lock it, or uninstall it"
            ),
        ),
        (
            "environment-extra",
            (
                "no distribution in `.venv` installed `alpha/more.py`, `patch.py`, so code that imports them works only here; "
                "delete them, or move them into your source"
            ),
        ),
    ] == desk.messages()


def test_another_platform(desk: Desk) -> None:
    """The wheel of another platform has other native files, which is explained; an edited file is still found."""
    desk.service.add("native", "1.0", {"native/a.py": "x = 1\n", "native/core.so": b"elf"}, tag=NATIVE)
    mac: dict[str, bytes | str] = {
        "native/a.py": "x = 1\n",
        "native/core.dylib": b"macho",
        "native/conf.py": "mac = 1\n",
    }
    desk.create(make_wheel(desk.service.wheels, "native", "1.0", mac, tag=MAC))
    reason = "from a wheel of another platform or build, so native and generated files differ: `native`"
    explained = ("environment-explained", f"`.venv` differs from the layers as expected: {reason}")
    before = desk.messages()
    (desk.site / "native/a.py").write_text("x = 2\n")
    after = desk.messages()

    assert [explained] == before
    assert ["environment-file", "environment-explained"] == [rule for rule, _ in after]
    assert "1 file of `native` 1.0 in `.venv` is not as in the wheel: changed: `native/a.py`" in after[0][1]


def test_built_from_source(desk: Desk, tmp_path: Path) -> None:
    """Another build of a source distribution has other native files, which is explained; another module is found."""
    desk.service.add("native", "1.0", {"native/a.py": "x = 1\n", "native/b.py": "", "native/core.so": b"elf"})
    desk.artifact = "native-1.0.tar.gz"
    other: dict[str, bytes | str] = {"native/a.py": "x = 2\n", "native/b.py": "", "native/core.so": b"other"}
    desk.create(make_wheel(tmp_path / "other", "native", "1.0", other))

    (rule, message), (explained, reason) = desk.messages()

    assert ("environment-file", "environment-explained") == (rule, explained)
    assert "1 file of `native` 1.0 in `.venv` is not as in the wheel: changed: `native/a.py`;" in message
    assert reason.endswith("built from source, so native and generated files differ: `native`")


def test_no_record(desk: Desk) -> None:
    """The files of a distribution without a RECORD, such as one of the system, are unknown, not modules of no one."""
    alpha = desk.service.add("alpha", "1.0", {"alpha/__init__.py": "", "other_name.py": ""})
    desk.create(alpha)
    info = desk.site / "alpha-1.0.dist-info"
    (info / "RECORD").unlink()
    (info / "top_level.txt").write_text("alpha\nother_name\n")

    assert [] == desk.messages()


def test_preinstalled(desk: Desk) -> None:
    """What the runtime has is explained, also if the lock does not have it."""
    alpha = desk.service.add("alpha", "1.0")
    desk.create(alpha, make_wheel(desk.service.wheels, "boto3", "1.40.0"))

    assert [
        ("environment-explained", "`.venv` differs from the layers as expected: the runtime has it: `boto3`")
    ] == desk.messages()


def test_another_python(desk: Desk) -> None:
    """An environment of another Python is found. If the service has a target with that Python, its build is compared."""
    desk.python = "3.12"
    alpha = desk.service.add("alpha", "1.0")
    desk.create(alpha)
    alone = desk.messages()
    del desk.service.settings["runtime"], desk.service.settings["architecture"]
    desk.service.settings["targets"] = '["python3.13-arm64", "python3.12-arm64"]'

    fact = "`.venv` has Python 3.12, but the runtime is `python3.13`"
    assert [("environment-python", f"{fact}; create it again: `uv venv --clear --python 3.13 .venv`")] == alone
    assert [] == desk.messages()


def test_markers(desk: Desk) -> None:
    """A distribution whose marker is false in the environment is explained, and so is one that is locked for others only."""
    desk.python = "3.12"
    desk.service.settings["ignore"] = '[{ rule = "environment-python", reason = "a test" }]'
    desk.service.add("new", "1.0")
    old = desk.service.add("old", "1.0")
    desk.service.markers = {"new": "python_version >= '3.13'", "old": "python_version < '3.13'"}
    desk.create(old)
    python, *found = desk.messages()

    assert "environment-python" == python[0]
    assert (
        "environment-explained",
        (
            "`.venv` differs from the layers as expected: not for this platform or Python, by markers: `new`; locked, but not for "
            "the layers: `old`"
        ),
    ) == found[0]
    assert 1 == len(found)


def test_configuration(desk: Desk) -> None:
    """What `exclude`, `without` and `sdk` leave out is explained, and so are the groups, editable and creators' distributions."""
    alpha = desk.service.add("alpha", "1.0", {"alpha/__init__.py": "", "alpha/tests/test_a.py": ""})
    large = desk.service.add("large", "1.0")
    boto3 = desk.service.add("boto3", "1.40.0")
    desk.service.settings |= {
        "exclude": '["alpha/tests/"]',
        "sdk": '"runtime"',
        "layers": '{ common = { without = ["large"] } }',
    }
    make = desk.service.wheels
    desk.create(alpha, large, boto3, make_wheel(make, "pip", "26.0"))
    desk.install(
        make_wheel(make, "greeter", "1"), **{"direct_url.json": '{"url": "file:///x", "dir_info": {"editable": true}}'}
    )
    desk.install(make_wheel(make, "checker", "1", requires=["helper[x]>=1", "spare ; extra == 'y'", "?"]))
    desk.install(make_wheel(make, "helper", "1", requires=["of-extra ; extra == 'x'"]))
    desk.install(make_wheel(make, "of-extra", "1"))
    desk.install(make_wheel(make, "spare", "1"))
    desk.install(make_wheel(make, "lamina", "1", requires=["needed-by-lamina"]))
    desk.install(make_wheel(make, "needed-by-lamina", "1"))
    desk.service.settings["include"] = '[]\n[dependency-groups]\ndev = ["checker"]\n'

    assert [
        (
            "environment-extra",
            (
                "`spare` is in `.venv`, but neither in the layers nor in the lock file, so code that imports it works only "
                "here; lock it, or uninstall it"
            ),
        ),
        (
            "environment-explained",
            (
                "`.venv` differs from the layers as expected: files left out by `exclude`: `alpha`; the runtime has it: `boto3`; for "
                "development: `checker`, `helper`, `lamina`, `needed-by-lamina`, `of-extra`; your own code: `greeter`; left out by `without`: `large`; of "
                "the program that made the environment: `pip`"
            ),
        ),
    ] == desk.messages()


def test_conda(desk: Desk) -> None:
    """What conda installed is not from a wheel, so only its version is compared."""
    alpha = desk.service.add("alpha", "1.0")
    desk.service.add("beta", "1.1")
    desk.create()
    (desk.venv / "pyvenv.cfg").unlink()
    (desk.venv / "conda-meta").mkdir()
    desk.install(alpha, INSTALLER="conda\n")
    desk.install(make_wheel(desk.service.wheels, "beta", "1.0"), INSTALLER="conda\n")
    (desk.site / "alpha/__init__.py").write_text("patched\n")
    (desk.site / "of_conda.py").touch()

    found = [(each.rule, each.path) for each in desk.check()]
    assert [("environment-version", "beta"), ("environment-explained", os.path.relpath(desk.venv))] == found


def test_hostile_files(desk: Desk) -> None:
    """Metadata that leads out of the environment, is no text, is endless or controls the terminal is not followed, and not quoted."""
    alpha = desk.service.add("alpha", "1.0")
    desk.create(alpha)
    bad = desk.site / "bad-1.0.dist-info"
    bad.mkdir()
    (bad / "METADATA").write_bytes(b"Name: bad\x1b[2J\nVersion: 1\n\n")
    (bad / "RECORD").write_bytes(b"\xff\xfe,,\n")
    pipe = desk.site / "pipe-1.0.dist-info"
    pipe.mkdir()
    os.mkfifo(pipe / "METADATA")
    (pipe / "RECORD").write_text('/etc/passwd,sha256=x,1\n../../../../etc/passwd,sha256=x,1\n"\n')
    (desk.site / "alpha/__init__.py").unlink()
    os.mkfifo(desk.site / "alpha/__init__.py")
    (desk.site / "loop").symlink_to(desk.site)

    assert [
        ("environment-file", "alpha"),
        ("environment-extra", os.path.relpath(desk.venv)),
    ] == [(each.rule, each.path) for each in desk.check()]


def test_no_environment(desk: Desk) -> None:
    """A directory without an environment is an error, not a passed check."""
    with pytest.raises(ConfigError) as caught:
        desk.check(desk.venv.parent)

    assert "it has no `site-packages`" in str(caught.value)


def test_no_environment_anywhere(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an environment, the finding says where lamina searched, and has the command that creates one."""
    desk.service.add("alpha", "1.0")
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    (desk.service.root / ".git").mkdir(parents=True)

    assert [
        (
            "environment-missing",
            (
                "there is no virtual environment `.venv`, nor `.venv` in a parent directory, and none is active; create one: "
                "`uv venv --python 3.13 .venv`"
            ),
        )
    ] == desk.messages()
    with pytest.raises(ConfigError, match=r"^the environment `.*/missing` does not exist$"):
        desk.check(desk.service.root / "missing")


def test_environment_of_the_workspace(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without an own `.venv`, that of a parent directory is compared, and else the active one."""
    alpha = desk.service.add("alpha", "1.1")
    desk.venv = tmp_path / ".venv"
    desk.create(alpha)
    asked = desk.service.root / ".venv"
    of_parent = desk.check(asked)
    (desk.venv / "pyvenv.cfg").rename(tmp_path / "pyvenv.cfg")
    desk.venv.rename(tmp_path / "active")
    (tmp_path / "pyvenv.cfg").rename(tmp_path / "active" / "pyvenv.cfg")
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "active"))

    assert ([], []) == (of_parent, desk.check(asked))


def test_system_packages(desk: Desk) -> None:
    """An environment with the packages of the system's Python is found."""
    desk.create(desk.service.add("alpha", "1.0"))
    with (desk.venv / "pyvenv.cfg").open("a") as settings:
        settings.write("include-system-site-packages = true\n")

    [(rule, message)] = desk.messages()
    assert rule == "environment-extra"
    assert message.endswith("create it again without `--system-site-packages`")


def test_hostile_numbers(desk: Desk) -> None:
    """Numbers of any length and hashes of any name in the files of an environment are no error of lamina."""
    alpha = desk.service.add("alpha", "1.0", {"alpha/a.py": "x = 1\n"})
    desk.create(alpha)
    (desk.venv / "pyvenv.cfg").write_text(f"version = {'9' * 5000}.1\nversion_info = 3.13.{'9' * 5000}\n")
    info = desk.site / "alpha-1.0.dist-info"
    (info / "WHEEL").write_text("Tag: cp313-cp313-macosx_11_0_arm64\n")
    (info / "RECORD").write_text(
        f"alpha/a.py,shake_128=AAAA,6\nalpha/b.py,sha1=AAAA,6\nalpha/c.py,sha256=A,{'9' * 5000}\n"
    )
    (desk.site / "alpha/c.py").touch()

    assert ["environment-file", "environment-explained"] == [each.rule for each in desk.check()]


def test_hostile_names(desk: Desk) -> None:
    """A name of any length is not quoted, and a distribution with two metadata directories is one."""
    desk.create(desk.service.add("alpha", "1.0"))
    for directory, name in [("a-1.dist-info", "x" * 3_000_000), ("b-1.dist-info", "extra"), ("c-1.dist-info", "extra")]:
        (desk.site / directory).mkdir()
        (desk.site / directory / "METADATA").write_text(f"Name: {name}\nVersion: 1\n\n")

    (finding,) = desk.check()
    assert finding.message.startswith("`extra` is in `")


def test_another_build(desk: Desk) -> None:
    """If the metadata is that of another build for the same platform, the other files must be those of the layer nevertheless."""
    alpha = desk.service.add("alpha", "1.0", {"alpha/a.py": "x = 1\n", "alpha/data.json": "{}"})
    desk.create(alpha)
    wheel = desk.site / "alpha-1.0.dist-info/WHEEL"
    wheel.write_text(wheel.read_text() + "Build: 2\n")
    (desk.site / "alpha-1.0.dist-info/RECORD").write_text("alpha/a.py,,\nalpha/data.json,,\n")
    before = [each.rule for each in desk.check()]
    (desk.site / "alpha/data.json").write_text("[]")
    (found, _) = desk.check()

    assert ["environment-explained"] == before
    assert "1 file of `alpha` 1.0 in `" in found.message
    assert "changed: `alpha/data.json`; " in found.message


def test_many_distributions(desk: Desk) -> None:
    """The requirements of the installed distributions are read once, not once for each that is not locked."""
    desk.create(desk.service.add("alpha", "1.0"))
    for number in range(300):
        directory = desk.site / f"extra{number}-1.dist-info"
        directory.mkdir()
        requires = "".join(f"Requires-Dist: extra{each}\n" for each in range(100))
        (directory / "METADATA").write_text(f"Name: extra{number}\nVersion: 1\n{requires}\n")

    (finding,) = desk.check()
    assert finding.message.startswith("`extra0`, `extra1`, `extra10`, ")
    assert " and 280 more are in `" in finding.message


@pytest.mark.parametrize(
    ("lock", "command"),
    [
        ("uv.lock", "uv sync --reinstall-package alpha"),
        ("poetry.lock", "uv pip uninstall --python .venv alpha && poetry sync"),
        ("pylock.toml", "uv pip install --python .venv --requirement pylock.toml --reinstall-package alpha"),
    ],
)
def test_installing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: str, command: str) -> None:
    """The command installs from the lock file, whose indexes and hashes another command would not know."""
    monkeypatch.chdir(tmp_path)

    assert command == Cures(LockFile(kind=lock, path=tmp_path / lock, project=tmp_path), (), ".venv").reinstall("alpha")
