"""Several layers from one lock file: the share of each layer, in the plan and in the built zips."""

from __future__ import annotations

import shutil
import zipfile
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import InvalidConfigError, LockError
from lamina.core.store import Store
from lamina.core.target import Target
from lamina.core.values import Finding, Pin, Selection, Severity, Sha256
from lamina.pipeline.apportion import apportion, check_locked, not_locked
from lamina.pipeline.build import build
from lamina.project.config import load
from lamina.project.options import BuildOptions
from lamina.project.service import LayerConfig
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

TARGET = Target.of("python3.13", "arm64")


def selection(**versions: str) -> Selection:
    return Selection(
        target=TARGET,
        pins=tuple(
            Pin(
                name=name,
                version=version,
                filename=f"{name}-{version}-py3-none-any.whl",
                sha256=Sha256(f"{name}{version}"),
            )
            for name, version in sorted(versions.items())
        ),
    )


def names(shares: dict[str, Selection]) -> dict[str, list[str]]:
    return {name: [pin.name for pin in share.pins] for name, share in shares.items()}


class TestApportion:
    def test_minus(self) -> None:
        """A layer leaves out the distributions of the other layer, regardless of the configured order."""
        layers = [LayerConfig(name="reporting", minus=("common",)), LayerConfig(name="common")]
        selections = {"common": selection(a="1", b="1"), "reporting": selection(a="1", b="1", c="1")}

        assert {"reporting": ["c"], "common": ["a", "b"]} == names(apportion(layers, selections))

    def test_what_the_other_left_out(self) -> None:
        """A layer only leaves out distributions that remain in the other layer after its own `without` and `minus`."""
        layers = [
            LayerConfig(name="common", without=("b",)),
            LayerConfig(name="rest", minus=("common",)),
            LayerConfig(name="more", minus=("rest",)),
        ]
        selections = {name: selection(a="1", b="1", c="1") for name in ("common", "rest")}
        selections["more"] = selection(a="1", b="1", d="1")

        assert {"common": ["a", "c"], "rest": ["b"], "more": ["a", "d"]} == names(apportion(layers, selections))

    def test_everywhere(self) -> None:
        """Names in *everywhere* are left out of all layers."""
        layers = [LayerConfig(name="common")]

        assert {"common": ["a"]} == names(
            apportion(layers, {"common": selection(a="1", b="1")}, everywhere=frozenset({"b"}))
        )

    def test_only(self) -> None:
        """A layer with `only` has exactly the distributions that it names, and the layers that lack them have the others."""
        layers = [LayerConfig(name="heavy", only=("b", "c")), LayerConfig(name="common", minus=("heavy",))]
        both = selection(a="1", b="1", c="1", d="1")

        assert {"heavy": ["b", "c"], "common": ["a", "d"]} == names(apportion(layers, {"heavy": both, "common": both}))

    def test_only_what_is_not_locked(self) -> None:
        """Names that are not locked raise an error that lists all of them."""
        layers = [LayerConfig(name="heavy", only=("pandsa", "x")), LayerConfig(name="sdk", only=("boto3",))]
        selections = dict.fromkeys(("heavy", "sdk"), selection(pandas="1"))

        with pytest.raises(LockError) as caught:
            check_locked([not_locked(layers, selections, ["boto3"])])

        assert (
            "not locked for the layer's groups and extras: `pandsa` in `only` of layer `heavy` (did you mean `pandas`?); "
            "`x` in `only` of layer `heavy`"
        ) == str(caught.value)

    def test_two_versions(self) -> None:
        """Distributions with different versions in two such layers raise an error that lists all of them, with both layers."""
        layers = [LayerConfig(name="common"), LayerConfig(name="reporting", minus=("common",))]
        selections = {"common": selection(a="1", b="1", c="1"), "reporting": selection(a="2", b="1", c="3")}

        with pytest.raises(LockError) as caught:
            apportion(layers, selections)

        assert (
            "layers linked by `minus` lock different files: `a` differs between layers `reporting` and `common` (versions 2 and 1); "
            "`c` differs between layers `reporting` and `common` (versions 3 and 1)"
        ) == str(caught.value)


@pytest.mark.parametrize(
    ("layers", "mistake"),
    [
        (
            'a = {}\nb = { minus = ["c"] }',
            ("tool.lamina.layers.b.minus", "unknown layer `c`"),
        ),
        ('a = { minus = ["a"] }', ("tool.lamina.layers.a.minus", "`a` refers to itself")),
        (
            'a = { minus = ["b"] }\nb = { minus = ["a"] }',
            ("tool.lamina.layers.a", "layers refer to each other in `minus`: `a`, `b`"),
        ),
    ],
)
def test_mistakes(tmp_path: Path, layers: str, mistake: tuple[str, str]) -> None:
    """An invalid `minus` is reported with its key."""
    (tmp_path / "pyproject.toml").write_text(f'[tool.lamina]\nruntime = "python3.13"\n[tool.lamina.layers]\n{layers}\n')

    with pytest.raises(InvalidConfigError) as caught:
        load(tmp_path)

    assert (mistake,) == caught.value.mistakes


def test_function_without_the_other_layer(tmp_path: Path) -> None:
    """A function that uses a layer without the layer in its `minus` raises an error."""
    (tmp_path / "service").mkdir()
    (tmp_path / "pyproject.toml").write_text(
        """
        [tool.lamina]
        runtime = "python3.13"
        source = ["service"]
        layers = { common = {}, reporting = { minus = ["common"] } }
        functions.report = { handler = "service.report.handler", layers = ["reporting"] }
        """
    )

    with pytest.raises(InvalidConfigError) as caught:
        load(tmp_path)

    assert (
        (
            "tool.lamina.functions.report.layers",
            "add `common`: layer `reporting` leaves out the distributions of layer `common` (`minus`)",
        ),
    ) == caught.value.mistakes


@pytest.mark.parametrize("layers", ['{ common = { without = ["alpha"] } }', '{ common = { only = ["Beta"] } }'])
def test_left_out_without_a_wheel(tmp_path: Path, layers: str) -> None:
    """A distribution without a compatible wheel is no error in a layer that leaves it out, also when it is read again."""
    service = make_service(tmp_path)
    service.settings["layers"] = layers
    service.add("alpha", "1.0", tag="cp27-cp27m-win32")
    project = service.write()
    store = Store.open(tmp_path / "store")
    first = build(project, BuildOptions(), store=store)
    shutil.rmtree(project / ".lamina")
    again = build(project, BuildOptions(offline=True), store=store)

    assert [["beta"]] * 2 == [[share.name for share in each.build.layers[0].distributions] for each in (first, again)]
    assert ((), ()) == (first.build.findings, again.build.findings)


def test_only_what_one_of_the_targets_has(tmp_path: Path) -> None:
    """A name in `only` has to be locked for one target, because others may not need the distribution."""
    service = make_service(tmp_path)
    del service.settings["runtime"], service.settings["architecture"]
    service.settings["targets"] = '["python3.13-x86_64", "python3.13-arm64"]'
    service.settings["layers"] = '{ common = { without = ["beta"] }, more = { only = ["beta"] } }'
    service.markers["beta"] = "platform_machine == 'x86_64'"

    result = build(service.write(), BuildOptions(), store=Store.open(tmp_path / "store"))

    assert [["beta"], []] == [[share.name for share in each.build.layers[1].distributions] for each in result.targets]
    service.settings["layers"] = '{ common = {}, more = { only = ["betta"] } }'
    with pytest.raises(LockError, match=r"`betta` in `only` of layer `more` \(did you mean `beta`\?\)"):
        build(service.write(), BuildOptions(), store=Store.open(tmp_path / "store"))


def test_only_what_the_first_target_lacks() -> None:
    """A name in `only` that is locked for the second target is no error, wherever the first target stands."""
    layers = [LayerConfig(name="more", only=("beta",))]
    targets = [not_locked(layers, {"more": each}, ()) for each in (selection(alpha="1"), selection(beta="1"))]

    check_locked(targets)
    check_locked(targets[::-1])
    with pytest.raises(LockError, match="`beta` in `only` of layer `more`"):
        check_locked([targets[0], targets[0]])


def test_built(tmp_path: Path) -> None:
    """Each distribution is in its layer's zip, and a misspelled `without` is a warning."""
    service = make_service(tmp_path)
    service.settings["layers"] = '{ common = { without = ["Beta", "alhpa"] }, rest = { minus = ["common"] } }'
    service.functions = {}
    del service.settings["source"]

    result = build(service.write(), BuildOptions(), store=Store.open(tmp_path / "store"))

    assert {"common": ["alpha"], "rest": ["beta"]} == {
        layer.name: [share.name for share in layer.distributions] for layer in result.build.layers
    }
    with zipfile.ZipFile(result.build.layers[1].path) as archive:
        assert "python/beta.py" in archive.namelist()
        assert "python/alpha/__init__.py" not in archive.namelist()
    assert (
        Finding(
            rule="nothing-left-out",
            severity=Severity.WARNING,
            message=(
                "layer `common`: `without` lists `alhpa`, which is not among the layer's locked distributions "
                "(did you mean `alpha`?)"
            ),
            path="common",
        ),
    ) == result.build.findings
