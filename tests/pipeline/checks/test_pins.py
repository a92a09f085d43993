"""Layers by ARN in a build: not pinned, they are unknown; pinned, their sizes and modules count."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lamina.core.errors import PackageError
from lamina.core.frozen import replace
from lamina.core.store import Store
from lamina.core.values import Finding, Severity
from lamina.pipeline import last_build
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from lamina.project.pinned import ExternalContents, PinnedLayer, write_pins
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

    from services import Service

ARN = "arn:aws:lambda:eu-west-1:123456789012:layer:tools:7"
LIMIT = 262_144_000


@pytest.fixture
def service(tmp_path: Path) -> Service:
    """Return a service whose function has one allowed layer by ARN."""
    service = make_service(tmp_path)
    service.settings["source"] = '["app/*"]'
    service.settings["allow-layers"] = '[{ arn = "arn:aws:lambda:*:123456789012:layer:tools*", reason = "bought" }]'
    service.functions = {"f": "main.handler"}
    use(service, ARN)
    code(service)
    return service


def use(service: Service, *arns: str) -> None:
    service.more["f"] = f"layer-arns = {json.dumps(arns)}"


def code(service: Service, text: str = "", name: str = "main.py") -> None:
    path = service.root / "app" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\ndef handler(event, context):\n    return event\n")


def pin(service: Service, *modules: str, arn: str = ARN, size: int = 1000, **site: tuple[str, ...]) -> PinnedLayer:
    """Pin a layer with *modules* and, by minor version such as ``v3_13``, those in ``site-packages``."""
    found = PinnedLayer(
        arn=arn,
        code_sha256="A" * 43 + "=",
        code_size=size,
        contents=ExternalContents(
            unzipped_bytes=size,
            modules=modules,
            site_modules=tuple((minor.removeprefix("v").replace("_", "."), names) for minor, names in site.items()),
        ),
    )
    write_pins(service.write(), [found])
    return found


def configuration(service: Service) -> list[str]:
    return (service.root / "pyproject.toml").read_text().splitlines()


def find(service: Service, *, rule: str | None = None) -> list[Finding]:
    """Build *service* and return the findings, by default those of all rules."""
    result = build(service.write(), BuildOptions(offline=True), store=Store.open(service.root.parent / "store"))
    return [finding for finding in result.build.findings if rule in {None, finding.rule}]


def test_not_pinned(service: Service) -> None:
    """An allowed layer without a pin is a warning with the command, for all functions at once."""
    service.functions["g"] = "main.handler"
    service.more["g"] = service.more["f"]

    assert find(service) == [
        Finding(
            rule="layer-not-pinned",
            severity=Severity.WARNING,
            path="f",
            message=f"`f`, `g`: `lamina-layers.lock` lacks `{ARN}`, so lamina does not know the size and modules; run `lamina pin`",
            file="pyproject.toml",
            line=next(number for number, line in enumerate(configuration(service), 1) if ARN in line),
        )
    ]
    service.settings["ignore"] = '["layer-not-pinned"]'
    assert find(service) == []
    del service.settings["ignore"]
    pin(service)
    assert find(service) == []


def test_layers_that_are_not_allowed_or_cannot_be_pinned(service: Service) -> None:
    """Another rule refuses a layer that is not allowed, and no command pins a layer without an account."""
    use(service, ARN.replace("tools", "other"), "arn:aws:lambda:::awslayer:AmazonLinux1803")

    assert find(service, rule="layer-not-pinned") == []


def test_modules_of_a_pinned_layer(service: Service) -> None:
    """What the layer contains for the runtime can be imported; what it lacks is an error again."""
    code(service, "import tools.deep, space.part.deep, fast, six\nimport slow, space.other")
    pin(service, "six", "space.part", "tools", v3_12=("slow",), v3_13=("fast",))

    found = find(service, rule="missing-import")

    assert [("`f` cannot import `slow`", Severity.ERROR), ("`f` cannot import `space.other`", Severity.ERROR)] == [
        (finding.message.partition(":")[0], finding.severity) for finding in found
    ]


def test_an_unknown_layer_beside_a_pinned_one(service: Service) -> None:
    """As long as one layer is unknown, it may contain the module."""
    other = ARN.replace("tools", "tools-more")
    use(service, ARN, other)
    code(service, "import gone, six")
    pin(service, "six")

    (finding,) = find(service, rule="missing-import")

    assert finding.severity is Severity.NOTE
    assert finding.message.endswith(f"lamina does not know what `{other}` contains; to find out, run `lamina pin`")


def test_a_known_extension_has_no_modules(service: Service) -> None:
    """A layer that is only a publisher's extension does not excuse a missing module, also if it is not pinned."""
    use(service, "arn:aws:lambda:eu-west-1:464622532012:layer:Datadog-Extension:80")
    code(service, "import gone")

    (finding,) = find(service, rule="missing-import")

    assert finding.severity is Severity.ERROR


def test_a_pin_for_an_open_region(service: Service) -> None:
    """A pin of one region is that of an ARN whose region only the deployment knows."""
    use(service, ARN.replace("eu-west-1", "*"))
    code(service, "import tools, gone")
    assert {("layer-not-pinned", Severity.WARNING), ("missing-import", Severity.NOTE)} == {
        (finding.rule, finding.severity) for finding in find(service)
    }

    pin(service, "tools", "alpha", size=LIMIT)

    assert {"layer-overlap": Severity.WARNING, "missing-import": Severity.ERROR, "unzipped-limit": Severity.ERROR} == {
        finding.rule: finding.severity for finding in find(service)
    }


@pytest.mark.parametrize(
    ("runtimes", "architectures", "stated"),
    [
        ((), (), None),
        (("python3.13", "python3.12"), ("x86_64", "arm64"), None),
        (("python3.12",), (), "only for `python3.12`"),
        (("nodejs22.x",), ("arm64",), "only for `nodejs22.x` and only for `arm64`"),
    ],
)
def test_other_target(
    service: Service, runtimes: tuple[str, ...], architectures: tuple[str, ...], stated: str | None
) -> None:
    """A layer that its publisher does not offer for the target is a warning; one that states nothing is not."""
    write_pins(service.root, [replace(pin(service), runtimes=runtimes, architectures=architectures)])

    found = find(service)

    assert [("layer-other-target", Severity.WARNING)] * bool(stated) == [(each.rule, each.severity) for each in found]
    assert all(
        f"of layer `{ARN}` offers it {stated}, but lamina builds for python3.13 on" in each.message for each in found
    )


def test_handler_in_a_pinned_layer(service: Service) -> None:
    """The handler may be in the layer, unless it is a vendor's wrapper around the function's own."""
    service.functions = {"f": "tools.handler"}
    pin(service, "tools")

    assert find(service, rule="missing-import") == []

    service.functions = {"f": "datadog_lambda.handler.handler"}
    pin(service, "datadog_lambda")
    with pytest.raises(PackageError, match="is the wrapper of Datadog"):
        find(service)


def test_limits(service: Service) -> None:
    """The layers by ARN count among the five, and those that are pinned in the unzipped size."""
    arns = [ARN, *(ARN.replace("tools", f"tools{number}") for number in range(4))]
    use(service, *arns)
    pin(service)
    (finding,) = find(service, rule="layer-count")
    assert (finding.severity, finding.path) == (Severity.ERROR, "f")
    assert finding.message.startswith(f"`f` has 6 layers, but Lambda allows at most 5: `common`, `{ARN}`, ")

    use(service, ARN)
    pin(service, size=LIMIT)
    (finding,) = find(service, rule="unzipped-limit")
    assert f" + layer `{ARN}` {LIMIT:,})" in finding.message

    pin(service, size=LIMIT - 1_000_000)
    (finding,) = find(service, rule="little-headroom")
    assert finding.path == "f"


def test_total_size(service: Service) -> None:
    """The report's total of a function includes the pinned layer, also if the package is reused."""
    sizes = []
    for size in (0, 1000, 1001):
        pin(service, size=size)
        store = Store.open(service.root.parent / "store")
        (package,) = build(service.write(), BuildOptions(offline=True), store=store).build.packages
        sizes.append(package.total_unzipped_bytes)

        assert package.layer_arns == (ARN,)

    assert [1000, 1001] == [size - sizes[0] for size in sizes[1:]]


def test_overlap(service: Service) -> None:
    """A module in the pinned layer and in one of the service's layers is a warning; both names are in it."""
    pin(service, "alpha", "alphabet", "bet", "beta")

    (finding,) = find(service)

    assert ("layer-overlap", Severity.WARNING) == (finding.rule, finding.severity)
    assert finding.message == (
        f"`f`: layers `common` and `{ARN}` both contain `alpha`, `beta`, and Python imports only one of the two, or a mixture of both; "
        "remove the ARN from `layer-arns`, or leave the distributions out of `common` with `without`"
    )
    pin(service, v3_12=("alpha",))
    assert find(service) == []


def test_two_layers_by_arn_overlap(service: Service) -> None:
    """Two pinned layers with the same module are one finding."""
    other = ARN.replace("tools", "tools-more")
    use(service, ARN, other)
    first = pin(service, "fast", "six")
    write_pins(service.root, [first, replace(first, arn=other)])

    (finding,) = find(service)

    assert finding.message.startswith(f"`f`: layers `{ARN}` and `{other}` both contain `fast`, `six`, and ")
    assert finding.message.endswith("; remove one of the two from `layer-arns`")
    write_pins(service.root, [first, replace(first, arn=other, contents=replace(first.contents, modules=("slow",)))])
    assert find(service) == []


def test_namespaces_overlap_only_in_the_same_part(service: Service) -> None:
    """Two parts of one namespace package in two layers do not hide each other."""
    service.add("company-auth", "1", {"company/auth/__init__.py": ""})
    pin(service, "company.billing")
    assert find(service) == []
    pin(service, "company.auth")
    (finding,) = find(service)
    assert "both contain `company.auth`" in finding.message


@pytest.mark.parametrize(
    ("own", "theirs", "rule"),
    [
        ("tools.py", "tools", "shadowed-layer"),
        ("tools/__init__.py", "tools.part", "shadowed-layer"),
        ("tools/part.py", "tools", "hidden-module"),
        ("tools/part.py", "tools.other", None),
        ("other.py", "tools", None),
    ],
)
def test_own_modules(service: Service, own: str, theirs: str, rule: str | None) -> None:
    """The service's own module hides that of the pinned layer, or is hidden by it."""
    code(service, name=own)
    pin(service, theirs)

    found = find(service)

    assert [rule] * (rule is not None) == [finding.rule for finding in found]
    assert all(f"layer `{ARN}`" in finding.message for finding in found)


def test_the_file_is_an_input(service: Service) -> None:
    """A build is current until the file appears, changes or goes away."""
    find(service)
    assert not last_build.has_changed(service.root)
    first = pin(service)
    assert last_build.has_changed(service.root)
    find(service)
    assert not last_build.has_changed(service.root)
    write_pins(service.root, [replace(first, code_size=5)])
    assert last_build.has_changed(service.root)
    write_pins(service.root, [])
    assert last_build.has_changed(service.root)
