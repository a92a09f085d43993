"""Tests of the budgets for sizes, and of the comparison with a git revision or a build report."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from lamina.audit.families import budgets
from lamina.audit.inspection import Inspection
from lamina.core.errors import ConfigError
from lamina.core.reporter import SILENT, Silent
from lamina.core.store import Store
from lamina.core.values import Severity
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from services import HANDLER, Service
from sourceprojects import git

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.reporter import Reporter
    from lamina.core.values import Finding


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Return a service with two functions, the second of which is twice as large."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    made = Service(root=tmp_path / "project", wheels=tmp_path / "wheels")
    made.functions = {"hello": "service.handlers.hello.lambda_handler", "large": "large.app.lambda_handler"}
    made.sources["large"] = '["large"]'
    made.add("alpha", "1.0", {"alpha.py": "x = 1\n" * 1000})
    made.add("beta", "1.0", {"beta.py": "x = 1\n" * 100})
    (made.root / "large").mkdir(parents=True)
    (made.root / "large/app.py").write_text(HANDLER + "# x\n" * 1000)
    return made


@dataclass
class Listener(Silent):
    """A reporter that records its notes."""

    notes: list[str] = field(default_factory=list)

    def note(self, message: str) -> None:
        self.notes.append(message)


def _check(service: Service, *, base: str | None = None, reporter: Reporter = SILENT) -> list[Finding]:
    project = service.write()
    store = Store(project.parent / "store")
    result = build(project, BuildOptions(), store=store)
    return list(
        budgets.check(
            Inspection(
                project=project,
                service=result.plan.service,
                builds=tuple(each.build for each in result.targets),
                store=store,
                reporter=reporter,
                today=dt.date(2026, 11, 28),
                base=base,
            )
        )
    )


def _size(service: Service, name: str) -> int:
    """Return the size of the function *name*, or of the layer, in bytes."""
    report = json.loads((service.root / ".lamina/build.json").read_bytes())
    sizes = {row["name"]: row["total_unzipped_bytes"] for row in report["functions"]}
    return int((sizes | {row["name"]: row["unzipped_bytes"] for row in report["layers"]})[name])


def test_over_budget(service: Service) -> None:
    """The budget of the service is that of each function with its layers, at the line that sets it."""
    service.settings["max-unzipped"] = "9000"
    [finding] = _check(service)
    large = _size(service, "large")
    text = (service.root / "pyproject.toml").read_text().splitlines()

    assert ("over-budget", Severity.ERROR, "large", "pyproject.toml") == (
        finding.rule,
        finding.severity,
        finding.path,
        finding.file,
    )
    assert finding.message.startswith(
        f"`large`: {large:,} bytes unzipped, {large - 9000:,} over the budget of 9,000 bytes; largest parts: `alpha` 6,"
    )
    assert finding.line is not None
    assert text[finding.line - 1] == "max-unzipped = 9000"
    service.settings["max-unzipped"] = str(large)
    assert [] == _check(service)


def test_each_level(service: Service) -> None:
    """A function's budget replaces that of the service, and a layer has its own."""
    service.settings |= {"max-unzipped": '"1 B"', "layers": '{ common = { max-unzipped = "1 kB" } }'}
    service.more = {"hello": "max-unzipped = 1000000", "large": "max-growth = 1"}
    found = [(each.message.split(":")[0], each.line) for each in _check(service)]
    text = (service.root / "pyproject.toml").read_text().splitlines()

    assert [("`large`", text.index('max-unzipped = "1 B"') + 1), ("layer `common`", None)] == found

    del service.settings["layers"]
    service.settings |= {"layers.common.max-unzipped": '"1 kB"'}
    found = [(each.message.split(":")[0], each.line) for each in _check(service)]
    text = (service.root / "pyproject.toml").read_text().splitlines()

    assert ("layer `common`", text.index('layers.common.max-unzipped = "1 kB"') + 1) == found[1]


def test_growth_since_a_report(service: Service, tmp_path: Path) -> None:
    """What grew is named with its versions and bytes: a note without a budget, an error beyond it."""
    assert [] == _check(service)
    base = tmp_path / "before.json"
    base.write_bytes((service.root / ".lamina/build.json").read_bytes())
    before = _size(service, "hello")
    service.add("alpha", "1.1", {"alpha.py": "x = 1\n" * 1500})
    service.add("gamma", "2.0", {"gamma.py": "x = 1\n" * 100})
    noted = _check(service, base=str(base))
    more = _size(service, "hello") - before
    service.settings["max-growth"] = '"10 %"'
    service.more["hello"] = 'max-growth = "1 MB"'
    refused = _check(service, base=str(base))

    assert [Severity.NOTE, Severity.NOTE] == [each.severity for each in noted]
    start = f"`hello`: grew by {more:,} bytes ({more / before:.1%}) to {before + more:,} bytes unzipped since `{base}`"
    assert noted[0].message.startswith(f"{start}: `alpha` 1.0 → 1.1 +3,0")
    assert "`gamma` 2.0 +" in noted[0].message
    assert [("hello", Severity.NOTE), ("large", Severity.ERROR)] == [(each.path, each.severity) for each in refused]
    assert ", more than the budget of 10 %: `alpha` 1.0 → 1.1 +" in refused[1].message


def test_growth_of_exactly_the_budget(service: Service, tmp_path: Path) -> None:
    """Growth up to the budget is a note. Parts that hardly grew are counted, not named; a report of another target is compared, too."""
    _check(service)
    base = tmp_path / "before.json"
    base.write_bytes((service.root / ".lamina/build.json").read_bytes())
    before = _size(service, "hello")
    service.settings["architecture"] = '"arm64"'
    service.add("alpha", "1.1", {"alpha.py": "x = 1\n" * 1000, "alpha/data.bin": bytes(200_000)})
    service.add("gamma", "2.0")
    _check(service)
    service.settings["max-growth"] = str(_size(service, "hello") - before)
    hello, large = _check(service, base=str(base))
    service.settings["max-growth"] = str(_size(service, "hello") - before - 1)
    refused = _check(service, base=str(base))

    assert [Severity.NOTE, Severity.NOTE] == [hello.severity, large.severity]
    assert "unzipped since `" in hello.message
    assert hello.message.partition(".json`: ")[2].startswith("`alpha` 1.0 → 1.1 +200,")
    assert ", 2 more +" in hello.message
    assert [Severity.ERROR, Severity.ERROR] == [each.severity for each in refused]


def test_growth_since_a_revision(service: Service) -> None:
    """A revision is built from its own lock; the checkout and the repository's hooks leave nothing behind."""
    project = service.write()

    git(project, "init", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "Start")
    hook = project / ".git/hooks/post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch '{project.parent}/ran'\n")
    hook.chmod(0o755)
    service.settings["max-growth"] = "0"
    service.add("alpha", "1.1", {"alpha.py": "x = 1\n" * 1500})
    found = _check(service, base="HEAD")
    service.add("alpha", "1.2", {"alpha.py": "x = 1\n"})

    assert [("hello", Severity.ERROR), ("large", Severity.ERROR)] == [(each.path, each.severity) for each in found]
    assert "since `HEAD`, more than the budget of 0 bytes: `alpha` 1.0 → 1.1 +" in found[0].message
    assert [] == _check(service, base="HEAD")
    assert 1 == len(git(project, "worktree", "list").splitlines())
    assert not (project.parent / "ran").exists()


def test_report_of_a_workspace(service: Service, tmp_path: Path) -> None:
    """The report of a workspace has the service's builds; one that lacks a new or failed service compares nothing."""
    _check(service)
    base, listener = tmp_path / "before.json", Listener()
    row = json.loads((service.root / ".lamina/build.json").read_bytes())
    other = row | {"service": "other", "functions": []}
    failed = {"project": "failed", "error": {"kind": "ConfigError"}}
    base.write_text(json.dumps({"version": "1", "services": [failed, other, row | {"project": "a", "error": {}}]}))
    service.add("alpha", "1.1", {"alpha.py": "x = 1\n" * 1500})
    found = _check(service, base=str(base))
    for services in ([failed], [other, row | {"service": "third"}]):
        base.write_text(json.dumps({"version": "1", "services": services}))
        assert [] == _check(service, base=str(base), reporter=listener)

    assert ["grew", "grew"] == [each.rule for each in found]
    assert [f"sizes are not compared: `{base}` does not have the service `greeter`"] * 2 == listener.notes


def test_report_of_another_service(service: Service, tmp_path: Path) -> None:
    """The report of another service is an error, because everything would have grown."""
    _check(service)
    base = tmp_path / "before.json"
    base.write_text((service.root / ".lamina/build.json").read_text().replace('"greeter"', '"other"'))

    with pytest.raises(ConfigError, match=r"is the build report of `other`, not of `greeter`$"):
        _check(service, base=str(base))


def test_growth_without_a_base(service: Service) -> None:
    """A limit of the growth, of a service or of a function, is not silently without effect."""
    listener = Listener()
    service.more["large"] = 'max-growth = "1 MB"'
    _check(service, reporter=listener)

    assert ["`max-growth` is not checked without `--base`, such as `lamina check --base main`"] == listener.notes


def test_in_a_commit_hook(service: Service) -> None:
    """A hook of the commit can compare with a revision: git's variables for the hook lead to the index of the commit."""
    project = service.write()
    git(project, "init", "--quiet")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "one")
    hook = project / ".git/hooks/pre-commit"
    hook.write_text(
        f"#!/bin/sh\nexport LAMINA_CACHE_DIR='{project.parent}/store' PYTHONPATH='{os.pathsep.join(sys.path)}'\n"
        f"exec '{sys.executable}' -m lamina check --base HEAD --fail-on never\n"
    )
    hook.chmod(0o755)
    (project / "large/app.py").write_text(HANDLER)
    (project / "large/new.py").write_text("x = 1\n")
    git(project, "add", "large/new.py")
    git(project, "commit", "--all", "--quiet", "--message", "two")

    assert ["M\tlarge/app.py", "A\tlarge/new.py"] == git(
        project, "diff", "--name-status", "HEAD^", "HEAD", "--", "large"
    ).splitlines()
    assert "" == git(project, "status", "--short", "large")


def test_what_is_new(service: Service, tmp_path: Path) -> None:
    """A function and a layer that the base does not have cannot have grown."""
    functions = service.functions
    service.functions = {"hello": functions["hello"]}
    _check(service)
    base = tmp_path / "before.json"
    base.write_bytes((service.root / ".lamina/build.json").read_bytes())
    service.functions, service.settings["max-growth"] = functions, "0"

    assert [] == _check(service, base=str(base))


def test_a_new_service(service: Service, tmp_path: Path) -> None:
    """A revision without the service compares nothing, because a new service has not grown."""
    for command in (
        "init -q",
        "-c user.name=tests -c user.email=t@example.com -c commit.gpgsign=false commit -q --allow-empty -m Start",
    ):
        subprocess.run(["git", "-C", str(tmp_path), *command.split()], check=True)

    assert [] == _check(service, base="HEAD")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"version": "1"}',
        '{"version": "2"}',
        "[" * 100_000,
        '{"version": "1", "service": "x", "target": {"runtime": 1}}',
    ],
)
def test_no_report(service: Service, tmp_path: Path, content: str) -> None:
    """A file that is no report of a build is an error, and so is a name that is neither a file nor a revision."""
    base = tmp_path / "before.json"
    base.write_text(content)

    with pytest.raises(ConfigError, match="is not a readable build report"):
        _check(service, base=str(base))


def test_no_revision(service: Service) -> None:
    """A name that is neither a file nor a revision is an error that says so."""
    subprocess.run(["git", "init", "-q", str(root := service.write())], check=True)
    git(root, "commit", "--quiet", "--allow-empty", "--message", "Start")

    with pytest.raises(ConfigError) as caught:
        _check(service, base="no-such")

    assert (
        "revision `no-such` does not exist, nor does a file with this name",
        "list the branches: `git branch --all`",
    ) == (
        str(caught.value),
        caught.value.hint,
    )
