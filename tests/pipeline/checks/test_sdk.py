"""Compatibility of the AWS SDK distributions in a layer with those of the runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lamina.core.values import Severity
from lamina.pipeline.checks.sdk import check, left_out
from lamina.project.service import LayerConfig, SdkPolicy
from pipeline.checks.made import make_layer, make_package, make_service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lamina.core.values import Finding
    from lamina.project.service import Service

# The requirements of version 1.43.1 of boto3 and botocore; the python3.13 runtime has 1.42.97.
NEWER = {
    "boto3==1.43.1": ("botocore<1.44.0,>=1.43.1", "jmespath<2.0.0,>=0.7.1", "s3transfer<0.18.0,>=0.17.0"),
    "botocore==1.43.1": (
        "jmespath<2.0.0,>=0.7.1",
        "python-dateutil<3.0.0,>=2.1",
        "urllib3!=2.2.0,<3,>=1.25.4; python_version >= '3.10'",
        "urllib3<1.27,>=1.25.4; python_version < '3.10'",
        "awscrt==0.31.2; extra == 'crt'",
    ),
    "s3transfer==0.17.0": ("botocore<2.0a0,>=1.37.4",),
    "python-dateutil==2.9.0": ("six>=1.5",),
    "jmespath==1.0.1": (),
    "six==1.17.0": (),
    "urllib3==2.6.0": (),
}


def found(
    tmp_path: Path,
    requires: Mapping[str, Sequence[str]],
    service: Service | None = None,
    *,
    more: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Finding, ...]:
    """Return the findings on one function with a layer of the given distributions and requirements, and optionally a second layer."""
    contents = [requires] if more is None else [requires, more]
    layers = [
        make_layer(tmp_path, name, {each: {} for each in content}, requires=content)
        for name, content in zip(("common", "more"), contents, strict=False)
    ]
    package = make_package(tmp_path, "report", layers=[layer.name for layer in layers])
    return check(layers, [package], service or make_service())


def part(*names: str) -> dict[str, Sequence[str]]:
    return {name: requires for name, requires in NEWER.items() if name.partition("==")[0] in names}


def test_whole(tmp_path: Path) -> None:
    """A complete SDK in a layer replaces the runtime's SDK and has no finding."""
    assert () == found(tmp_path, NEWER)


def test_none(tmp_path: Path) -> None:
    """A layer without SDK distributions has no finding."""
    assert () == found(tmp_path, {"jinja2==3.0": ()})


def test_botocore_alone(tmp_path: Path) -> None:
    """A newer botocore with the runtime's boto3 is an error that states both versions, the date, and a remedy."""
    (finding,) = found(
        tmp_path, part("botocore", "jmespath", "python-dateutil", "six", "urllib3") | {"aws-xray-sdk==2.14": ()}
    )

    assert ("sdk-mismatch", Severity.ERROR, "report") == (finding.rule, finding.severity, finding.path)
    assert (
        "`report`: `boto3` 1.42.97 in runtime python3.13 (as of 2026-11-23) requires `botocore<1.43.0,>=1.42.97`, but "
        "Python imports `botocore` 1.43.1 in layer `common`; lock `boto3` too, or use the runtime's SDK only: "
        'set `sdk = "runtime"`'
    ) == finding.message


def test_shared_with_others(tmp_path: Path) -> None:
    """A newer urllib3 than the runtime's botocore supports is only a warning if the layer has no part of the SDK itself."""
    (finding,) = found(tmp_path, {"urllib3==3.0.0": ()})

    assert ("sdk-mismatch", Severity.WARNING) == (finding.rule, finding.severity)


def test_fits_by_chance(tmp_path: Path) -> None:
    """A partial SDK that fits the runtime's current versions is a warning, because AWS updates the runtime."""
    held = {f"botocore=={'1.42.97'}": (), **part("jmespath", "python-dateutil", "six", "urllib3")}
    (finding,) = found(tmp_path, held)

    assert ("sdk-partial", Severity.WARNING) == (finding.rule, finding.severity)
    assert (
        "`report`: the layers contain only part of the AWS SDK (`botocore` 1.42.97), and the rest comes from the runtime "
        "(`boto3` 1.42.97, `s3transfer`), which AWS updates over time; lock `boto3` too, or use the runtime's SDK only: "
        'set `sdk = "runtime"`'
    ) == finding.message


def test_unknown_version(tmp_path: Path) -> None:
    """A partial SDK is only a warning for a runtime with unknown SDK versions."""
    (finding,) = found(tmp_path, part("botocore"), make_service(runtime="python3.15"))

    assert "sdk-partial" == finding.rule


@pytest.mark.parametrize(
    ("runtime", "version", "rules"),
    [
        ("python3.13", "2.6.0", []),
        ("python3.13", "2.2.0", ["sdk-mismatch"]),
        ("python3.13", "3.0.0", ["sdk-mismatch"]),
        ("python3.10", "2.6.0", []),
        ("python3.9", "2.6.0", []),
    ],
)
def test_helper_alone(tmp_path: Path, runtime: str, version: str, rules: list[str]) -> None:
    """A layer's urllib3 is also checked against the runtime's botocore, and only an unsupported version has a finding."""
    service = make_service(runtime=runtime)

    assert rules == [finding.rule for finding in found(tmp_path, {f"urllib3=={version}": ()}, service)]


def test_across_layers(tmp_path: Path) -> None:
    """The complete SDK may be spread over several layers; of two versions, that of the later layer counts."""
    helpers = part("jmespath", "python-dateutil", "six", "urllib3")

    assert () == found(tmp_path, part("boto3", "botocore", "s3transfer"), more=helpers)
    (finding,) = found(
        tmp_path, part("boto3", "s3transfer", "jmespath", "python-dateutil", "six"), more={"botocore==1.44.0": ()}
    )
    assert finding.message.startswith(
        "`report`: `boto3` 1.43.1 in layer `common` requires `botocore<1.44.0,>=1.43.1`, but Python imports "
        "`botocore` 1.44.0 in layer `more`; "
    )


def test_layer_without_functions(tmp_path: Path) -> None:
    """A layer that no function uses is checked alone."""
    layer = make_layer(tmp_path, "common", {"botocore==1.43.1": {}})

    (finding,) = check([layer], [], make_service())

    assert finding.message.startswith("layer `common`: `boto3` 1.42.97 in runtime python3.13")


class TestRuntime:
    def test_left_out(self) -> None:
        """All SDK distributions that the runtime provides are left out, and no others."""
        assert frozenset(
            {"boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3"}
        ) == left_out(make_service(sdk=SdkPolicy.RUNTIME))
        assert frozenset() == left_out(make_service())

    def test_says_which_versions(self, tmp_path: Path) -> None:
        """A note lists the runtime's versions with their date."""
        (finding,) = found(tmp_path, {"jinja2==3.0": ()}, make_service(sdk=SdkPolicy.RUNTIME))

        assert (
            "sdk-runtime",
            Severity.NOTE,
            (
                "using the AWS SDK of runtime python3.13: `boto3` 1.42.97, `botocore` 1.42.97, `jmespath`, "
                "`python-dateutil`, `s3transfer`, `six`, `urllib3` (versions as of 2026-11-23; AWS updates them over time)"
            ),
        ) == (finding.rule, finding.severity, finding.message)

    def test_what_needs_another_version(self, tmp_path: Path) -> None:
        """A distribution in the layer that requires another botocore than the runtime's is an error."""
        mismatch, note = found(
            tmp_path, {"aiobotocore==3.0": ("botocore>=1.43,<1.44",)}, make_service(sdk=SdkPolicy.RUNTIME)
        )

        assert "sdk-runtime" == note.rule
        assert (
            "`report`: `aiobotocore` 3.0 in layer `common` requires `botocore<1.44,>=1.43`, but Python imports "
            "`botocore` 1.42.97 in runtime python3.13 (as of 2026-11-23); lock versions that fit the runtime's SDK, or bundle the SDK: "
            'set `sdk = "bundle"`'
        ) == mismatch.message

    def test_own_without(self, tmp_path: Path) -> None:
        """SDK distributions left out by `without` are checked in the same way."""
        service = make_service(layers=[LayerConfig(name="common", without=("botocore",))])

        (finding,) = found(tmp_path, {"aiobotocore==3.0": ("botocore>=1.43,<1.44",)}, service)

        assert "sdk-mismatch" == finding.rule


class TestBundle:
    def test_whole(self, tmp_path: Path) -> None:
        """A complete SDK in the layer satisfies `sdk = "bundle"`."""
        assert () == found(tmp_path, NEWER, make_service(sdk=SdkPolicy.BUNDLE))

    def test_not_locked(self, tmp_path: Path) -> None:
        """With `sdk = "bundle"`, a lock file without boto3 is an error."""
        (finding,) = found(tmp_path, part("botocore"), make_service(sdk=SdkPolicy.BUNDLE))

        assert ("sdk-bundle", Severity.ERROR) == (finding.rule, finding.severity)
        assert (
            '`report`: `sdk = "bundle"` is set, but the layers do not contain `boto3`; '
            "add `boto3` to the dependencies, or remove the setting"
        ) == finding.message

    def test_incomplete(self, tmp_path: Path) -> None:
        """With `sdk = "bundle"`, a missing requirement of boto3 is an error."""
        (finding,) = found(
            tmp_path,
            part("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six"),
            make_service(sdk=SdkPolicy.BUNDLE),
        )

        assert (
            '`report`: `sdk = "bundle"` is set, but the layers do not contain `urllib3`; '
            "include the whole SDK, or remove the setting"
        ) == finding.message
