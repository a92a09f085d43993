"""Lambda's limits, exact to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamina.core.target import Target, quotas
from lamina.core.values import Distribution, Finding, Layer, Package, Severity
from lamina.pipeline.checks.limits import DistributionSize, LayerSize, PackageSize, check
from lamina.project.service import BytecodeMode, Service

LIMIT = 262_144_000


def service() -> Service:
    return Service(
        root=Path("orders"),
        name="orders",
        target=Target.of("python3.13", "arm64"),
        source=(),
        include=(),
        bytecode=BytecodeMode.NONE,
        exclude=(),
        groups=(),
        extras=(),
        ignore=(),
        lock=None,
        functions=(),
        layers=(),
        inputs=(),
    )


def layer(name: str = "common", unzipped: int = 0, zipped: int = 0, **distributions: int) -> LayerSize:
    return LayerSize(
        name=name,
        zipped_bytes=zipped,
        unzipped_bytes=unzipped,
        distributions=tuple(DistributionSize(name=key, unzipped_bytes=size) for key, size in distributions.items()),
    )


def package(name: str = "f", unzipped: int = 0, *layers: str, zipped: int = 0) -> PackageSize:
    return PackageSize(name=name, zipped_bytes=zipped, unzipped_bytes=unzipped, layers=layers)


def rules(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.rule for finding in findings]


class TestUnzipped:
    @pytest.mark.parametrize(
        ("total", "rule"),
        [(LIMIT - 1, "little-headroom"), (LIMIT, "little-headroom"), (LIMIT + 1, "unzipped-limit")],
    )
    def test_boundary(self, total: int, rule: str) -> None:
        """A size equal to the limit is allowed; one byte more is an error."""
        findings = check([layer(unzipped=total - 1000)], [package("f", 1000, "common")], service(), quotas())

        assert rules(findings) == [rule]

    @pytest.mark.parametrize(
        ("total", "expected"), [(LIMIT // 100 * 95, []), (LIMIT // 100 * 95 + 1, ["little-headroom"])]
    )
    def test_headroom(self, total: int, expected: list[str]) -> None:
        """Less than 5 % of headroom is a warning."""
        assert rules(check([], [package("f", total)], service(), quotas())) == expected

    def test_message(self) -> None:
        """The message contains the size, the limit, the parts of the sum, and the three largest distributions."""
        layers = [
            layer("common", 200_000_000, a=90_000_000, b=50_000_000, c=40_000_000, d=20_000_000),
            layer("extra", 70_000_000, c=70_000_000),
        ]

        findings = check(layers, [package("report", 2_144_000, "common", "extra")], service(), quotas())

        assert findings == (
            Finding(
                rule="unzipped-limit",
                severity=Severity.ERROR,
                message="`report`: 272,144,000 bytes unzipped, 10,000,000 over Lambda's limit of 262,144,000 bytes "
                "(code 2,144,000 + layer `common` 200,000,000 + layer `extra` 70,000,000); "
                "largest distributions: `c` 110,000,000, `a` 90,000,000, `b` 50,000,000",
                path="report",
            ),
        )

    def test_message_of_a_warning(self) -> None:
        """The warning states the remaining percentage."""
        findings = check([layer(unzipped=LIMIT - 262_144)], [package("f", 0, "common")], service(), quotas())

        assert findings == (
            Finding(
                rule="little-headroom",
                severity=Severity.WARNING,
                message="`f`: 261,881,856 bytes unzipped, only 0.1% below Lambda's limit of 262,144,000 bytes "
                "(code 0 + layer `common` 261,881,856)",
                path="f",
            ),
        )

    def test_alike(self) -> None:
        """Functions with the same code and layers share one finding; others have a separate finding."""
        packages = [package(f"f{number}", 1, "common") for number in range(5)]
        packages += [package("g", 2, "common"), package("small", 1)]

        findings = check([layer(unzipped=LIMIT)], packages, service(), quotas())

        assert [finding.message.partition(":")[0] for finding in findings] == ["`f0`, `f1`, `f2` and 2 more", "`g`"]

    def test_unused_layer(self) -> None:
        """A layer that no function uses is checked alone; other layers are part of their functions' sums."""
        findings = check([layer("common", LIMIT + 1, a=3), layer("fine", 1)], [package("f", 1)], service(), quotas())

        assert findings == (
            Finding(
                rule="unzipped-limit",
                severity=Severity.ERROR,
                message="layer `common`: 262,144,001 bytes unzipped, 1 over Lambda's limit of 262,144,000 bytes; largest distributions: `a` 3",
                path="common",
            ),
        )

    def test_measured(self) -> None:
        """Finished layers and packages are checked like estimates, including bytecode."""
        made = Layer(
            name="common",
            path=Path("common.zip"),
            digest="",
            sha256="",
            zipped_bytes=1,
            unzipped_bytes=LIMIT,
            files=1,
            distributions=(
                Distribution(
                    name="a",
                    version="1",
                    artifact="a.whl",
                    sha256="",
                    zipped_bytes=1,
                    unzipped_bytes=LIMIT - 5,
                    bytecode_bytes=5,
                ),
            ),
        )
        function = Package(
            name="f",
            handler="a.b",
            path=Path("f.zip"),
            sha256="",
            zipped_bytes=1,
            unzipped_bytes=1,
            files=1,
            layers=("common",),
            total_unzipped_bytes=LIMIT + 1,
            console_editable=True,
        )

        (finding,) = check([made], [function], service(), quotas())

        assert finding.message == (
            "`f`: 262,144,001 bytes unzipped, 1 over Lambda's limit of 262,144,000 bytes "
            "(code 1 + layer `common` 262,144,000); largest distributions: `a` 262,144,000"
        )


class TestLayerCount:
    @pytest.mark.parametrize(("count", "expected"), [(5, []), (6, ["layer-count"])])
    def test_boundary(self, count: int, expected: list[str]) -> None:
        """Five layers are allowed, six are an error."""
        names = [f"l{number}" for number in range(count)]

        findings = check([layer(name) for name in names], [package("f", 0, *names)], service(), quotas())

        assert rules(findings) == expected

    def test_functions_share(self) -> None:
        """Functions with the same layers share one finding."""
        names = [f"l{number}" for number in range(6)]
        packages = [package(name, 0, *names) for name in ("f", "g")]

        (finding,) = check([layer(name) for name in names], packages, service(), quotas())

        assert finding.message.startswith("`f`, `g` have 6 layers, but Lambda allows at most 5: ")

    def test_message(self) -> None:
        """The message lists all layers."""
        names = [f"l{number}" for number in range(6)]

        findings = check([layer(name) for name in names], [package("f", 0, *names)], service(), quotas())

        assert (
            findings[0].message == "`f` has 6 layers, but Lambda allows at most 5: `l0`, `l1`, `l2`, `l3`, `l4`, `l5`"
        )


class TestDirectUpload:
    @pytest.mark.parametrize(("size", "expected"), [(52_428_800, []), (52_428_801, ["direct-upload", "direct-upload"])])
    def test_boundary(self, size: int, expected: list[str]) -> None:
        """A zip of 50 MB is allowed in an API call, for a layer and for a function; one byte more goes through S3."""
        findings = check([layer(zipped=size)], [package(zipped=size)], service(), quotas())

        assert rules(findings) == expected

    def test_message(self) -> None:
        """The finding is a note, because no action is required."""
        findings = check([layer(zipped=60_000_000)], [], service(), quotas())

        assert findings == (
            Finding(
                rule="direct-upload",
                severity=Severity.NOTE,
                message=(
                    "layer `common`: the zip of 60,000,000 bytes exceeds the direct-upload limit of 52,428,800 bytes, "
                    "so it must be uploaded through S3"
                ),
                path="common",
            ),
        )
