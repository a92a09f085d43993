"""Follow the guide for migrating from `PythonLayerVersion`: apply its changes and compare the template with the guide."""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

from loopback import IndexServer
from wheels import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
BEFORE = ROOT / "examples" / "migration"
GUIDE = ROOT / "docs" / "how-to" / "migrate-from-pythonlayerversion.md"
TOOLS = ("node", "make", "git")
pytestmark = [
    pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}"),
    pytest.mark.skipif(
        Version(importlib.metadata.version("aws-cdk-lib")) < Version("2.275"),
        reason="`PythonLayerVersion`, from which the guide leads away, needs aws-cdk-lib 2.275",
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """A migrated copy of the sample."""

    project: Path
    before: dict[str, Any]
    """The template with `PythonLayerVersion`, synthesized without running its container."""
    after: dict[str, Any]
    exported: set[str]
    """The requirements that `make` exported for the container."""


def changes(name: str | None) -> str:
    """Return the guide's diff of the file *name*, or the diff that names no file."""
    found: list[str] = re.findall(r"(?ms)^```diff\n(.*?)^```$", GUIDE.read_text("utf-8"))
    of_files = [block for block in found if block.startswith("--- a/")]
    if name is None:
        (block,) = (block for block in found if block not in of_files)
    else:
        (block,) = (block for block in of_files if block.startswith(f"--- a/{name}\n"))
    return block


def run(*command: str, project: Path, index: str, input_: str = "") -> None:
    """Run a command of the guide or the sample with this test's index and without the user's settings."""
    environment = {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
        "HOME": str(project.parent),
        "UV_CACHE_DIR": str(project.parent / "uv-cache"),
        "UV_DEFAULT_INDEX": index,
        "UV_NO_CONFIG": "1",
        "UV_PYTHON": sys.executable,
        "UV_PYTHON_DOWNLOADS": "never",
        # Ignore a git repository above the directory.
        "GIT_CEILING_DIRECTORIES": str(project.parent),
    }
    done = subprocess.run(
        command, cwd=project, env=environment, input=input_, capture_output=True, text=True, check=False
    )

    assert (0, "") == (done.returncode, done.stderr if done.returncode else "")


def template(project: Path, *, bundled: bool) -> dict[str, Any]:
    """Synthesize the project's stack and return its template."""
    os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20,22")
    from aws_cdk import App
    from aws_cdk.assertions import Template

    spec = importlib.util.spec_from_file_location(f"stack_{bundled}", project / "cdk" / "stack.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # CDK's own validation needs ten seconds. Without bundled assets, CDK does not run the container.
    context: dict[str, object] = {} if bundled else {"aws:cdk:bundling-stacks": []}
    app = App(outdir=str(project / "cdk.out"), context=context, builtin_cloud_formation_validation=False)
    return dict(Template.from_stack(module.OrdersStack(app, "Orders")).to_json())


@pytest.fixture(scope="module")
def migration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Migration]:
    """Lock, build and synthesize the sample; apply the guide's changes and synthesize it again."""
    root = tmp_path_factory.mktemp("migration")
    project, wheels = root / "orders", root / "wheels"
    make_wheel(wheels, "aws-lambda-powertools", "3.37.0")
    # Like the real distribution, this one has a wheel for each architecture.
    make_wheel(wheels, "pydantic", "2.14.3", tag="py3-none-manylinux_2_17_aarch64")
    make_wheel(wheels, "lamina", "1.0", extras=["cdk"])
    for name, version in (
        ("aws-cdk-lib", "2.275"),
        ("aws-cdk.aws-lambda-python-alpha", "2.275.0a0"),
        ("pytest", "9.0"),
    ):
        make_wheel(wheels, name, version)
    shutil.copytree(BEFORE, project, ignore=shutil.ignore_patterns("__pycache__", ".build", ".lamina", "uv.lock"))
    with pytest.MonkeyPatch.context() as patch, IndexServer(wheels) as server:
        for name in [name for name in os.environ if name.startswith(("AWS_", "PIP_", "UV_"))]:
            patch.delenv(name)
        patch.setenv("LAMINA_CACHE_DIR", str(root / "store"))
        run("uv", "lock", project=project, index=server.simple)
        run("make", "build", project=project, index=server.simple)
        requirements = (project / ".build" / "common_layer" / "requirements.txt").read_text("utf-8")
        before = template(project, bundled=False)
        for name in ("pyproject.toml", "cdk/stack.py", "Makefile"):
            run("git", "apply", "-", project=project, index=server.simple, input_=changes(name))
        shutil.rmtree(project / ".build")
        run("uv", "lock", project=project, index=server.simple)
        configuration = project / "pyproject.toml"
        # Compiling bytecode needs the target's Python, which this machine may not have.
        text = configuration.read_text("utf-8").replace("\n[tool.lamina]\n", '\n[tool.lamina]\nbytecode = "none"\n')
        configuration.write_text(text, "utf-8")
        after = template(project, bundled=True)
        yield Migration(
            project=project,
            before=before,
            after=after,
            exported=set(re.findall(r"(?m)^([\w-]+)==", requirements)),
        )


def shown(document: dict[str, Any], side: str) -> list[str]:
    """Return the template as lines, with every digest replaced by *side*."""
    text = re.sub(r"\b[0-9a-f]{64}\b", f"<{side}>", json.dumps(document, indent=2))
    return re.sub(r"(?<=lamina:)[0-9a-f]+", f"<{side}>", text).splitlines()


def test_the_template_changes_as_the_guide_says(migration: Migration) -> None:
    """The guide shows exactly the difference between the two templates."""
    lines = difflib.unified_diff(shown(migration.before, "before"), shown(migration.after, "after"), n=2, lineterm="")
    actual = [line for line in lines if not line.startswith(("---", "+++"))]

    assert changes(None).splitlines() == actual


def test_nothing_is_made_anew(migration: Migration) -> None:
    """Every resource keeps its logical id and type, so that CloudFormation updates or replaces it instead of adding another."""
    before, after = (
        {name: row["Type"] for name, row in document["Resources"].items()}
        for document in (migration.before, migration.after)
    )

    assert before == after


def test_the_layer_holds_what_was_exported(migration: Migration) -> None:
    """The layer has exactly the distributions that `make` exported, and the packages contain only the service."""
    report = json.loads((migration.project / ".lamina" / "build.json").read_text("utf-8"))
    (layer,) = report["layers"]
    held = {row["name"] for row in layer["distributions"]}
    members = set()
    for function in report["functions"]:
        with zipfile.ZipFile(migration.project / function["path"]) as package:
            members |= {name.partition("/")[0] for name in package.namelist()}

    assert ({"aws-lambda-powertools", "pydantic"}, migration.exported) == (held, held)
    assert {"service"} == members
