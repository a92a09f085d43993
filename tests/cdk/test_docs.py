"""Tests that the pages about the constructs are correct and complete."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aws_cdk import App, Stack

from cdk.apps import WITHOUT_RULES, synthesized
from lamina.cdk import PythonFunction, PythonLayerVersion

if TYPE_CHECKING:
    from services import Service

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("construct", [PythonLayerVersion, PythonFunction])
def test_every_argument_is_documented(construct: type[PythonLayerVersion | PythonFunction]) -> None:
    """The reference lists each argument of a construct, in the order of its signature."""
    page = (DOCS / "reference" / "cdk.md").read_text("utf-8")
    section = page.split(f"## {construct.__name__}\n")[1].split("\n\n| attribute")[0].split("\n## ")[0]
    arguments = list(inspect.signature(construct.__init__).parameters)[3:]

    assert arguments == re.findall(r"(?m)^\| `(\w+)` \|", section)


def test_shown_apps_work(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's code blocks, run in order, are an app that works with the configuration shown in the guide."""
    page = (DOCS / "how-to" / "cdk.md").read_text("utf-8")
    configuration, *_ = re.findall(r"(?ms)^```toml\n(.*?)^```$", page)
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```$", page)
    project = service.write()
    for name in ("create", "render"):
        (project / f"service/handlers/{name}.py").write_text("def lambda_handler(event, context): ...\n")
    configured = configuration.replace("[tool.lamina]\n", '[tool.lamina]\nbytecode = "none"\n')
    (project / "pyproject.toml").write_text(f'[project]\nname = "quotes"\nversion = "1"\n{configured}')
    monkeypatch.chdir(project)
    names: dict[str, object] = {}
    for block in blocks:
        # CDK's own rules need ten seconds.
        quick = block.replace("app = App()", f"app = App(**{WITHOUT_RULES})")
        exec(quick, names)  # noqa: S102 - as a reader who copies it does

    app, stack = names["app"], names["stack"]
    assert isinstance(app, App)
    assert isinstance(stack, Stack)
    assert () == synthesized(app, stack).errors
    functions = synthesized(app, stack).resources("Function")
    layers = {
        name: row["Properties"].get("LayerName")
        for name, row in synthesized(app, stack).resources("LayerVersion").items()
    }
    assert [None, None, "quotes-common"] == [
        layers[row["Properties"]["Layers"][0]["Ref"]] for row in functions.values()
    ]
