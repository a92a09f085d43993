"""Reading `[tool.lamina.publish]`, and errors that are found before the first call."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from aws.made import PART, make_build, make_layer
from lamina.aws.api.account import Account
from lamina.aws.api.functions import Storage
from lamina.aws.api.layers import Grant
from lamina.aws.destination.naming import fill
from lamina.aws.publish.config import PublishConfig, load
from lamina.aws.publish.desired import desired_layers
from lamina.core.errors import ConfigError, InvalidConfigError, PublishError
from lamina.core.target import Target
from lamina.project.config import load as load_service

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.core.values import Build


def configured(directory: Path, *lines: str) -> PublishConfig:
    text = "\n".join(('[project]\nname = "shop"\n[tool.lamina]\n[tool.lamina.publish]', *lines))
    (directory / "pyproject.toml").write_text(text)
    return load(directory)


def test_everything_configured(tmp_path: Path) -> None:
    """Every key is read."""
    expected = PublishConfig(
        bucket="artifacts-{account}-{region}",
        prefix="team/layers/",
        regions=("eu-west-1", "us-gov-west-1"),
        roles=("arn:aws-cn:iam::123456789012:role/deploy/publisher",),
        share_with=(Grant(principal="210987654321"), Grant(principal="o-abcdefghij")),
        storage=Storage.REFERENCE,
        ssm_prefix="/layers/{service}",
        layer_name="{service}-{layer}-{runtime}-{architecture}",
        license="MIT",
    )

    assert expected == configured(
        tmp_path,
        'bucket = "artifacts-{account}-{region}"',
        'prefix = "/team/layers"',
        'regions = ["eu-west-1", "us-gov-west-1"]',
        'roles = ["arn:aws-cn:iam::123456789012:role/deploy/publisher"]',
        'share-with = ["210987654321", "o-abcdefghij"]',
        'storage = "reference"',
        'ssm-prefix = "/layers/{service}/"',
        'layer-name = "{service}-{layer}-{runtime}-{architecture}"',
        'license = "MIT"',
    )


def test_nothing_configured(tmp_path: Path) -> None:
    """Without the table, every setting has its default."""
    (tmp_path / "pyproject.toml").write_text("[tool.lamina]\n")

    assert PublishConfig() == load(tmp_path)


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    """One error lists every mistake, with its dotted key."""
    with pytest.raises(InvalidConfigError) as caught:
        configured(
            tmp_path,
            'bucket = "Artifacts_{acount}"',
            'prefix = "{service}/"',
            'regions = ["europe"]',
            'roles = ["publisher"]',
            'share-with = ["1234"]',
            'storage = "refrence"',
            'ssm-prefix = "layers"',
            'layer-name = "{service"',
            f'license = "{"x" * 513}"',
            "buckets = 1",
        )

    assert caught.value.mistakes == (
        ("tool.lamina.publish.bucket", "unknown placeholder `{acount}`; use `{account}`, `{partition}`, `{region}`"),
        ("tool.lamina.publish.prefix", "unknown placeholder `{service}`; `prefix` supports no placeholders"),
        ("tool.lamina.publish.regions", "`europe` is not a valid region name, such as `eu-west-1`"),
        (
            "tool.lamina.publish.roles",
            "`publisher` is not the ARN of a role, such as `arn:aws:iam::123456789012:role/publisher`",
        ),
        (
            "tool.lamina.publish.share-with",
            "`1234` is neither an account ID, such as `123456789012`, nor an organisation ID, such as `o-a1b2c3d4e5`",
        ),
        (
            "tool.lamina.publish.storage",
            "unknown value `refrence` (did you mean `reference`?); expected one of `copy`, `reference`",
        ),
        ("tool.lamina.publish.ssm-prefix", "`layers` is not a valid parameter path, such as `/layers`"),
        (
            "tool.lamina.publish.layer-name",
            "`{service` has a brace that is not part of a placeholder; use `{architecture}`, `{layer}`, `{runtime}`, `{service}`",
        ),
        ("tool.lamina.publish.license", "the text has 513 characters; Lambda's limit is 512 characters"),
        ("tool.lamina.publish.buckets", "unknown key (did you mean `bucket`?)"),
    )


@pytest.mark.parametrize(
    ("bucket", "fact"),
    [
        ("a..b", "is not a valid bucket name: it contains two adjacent periods"),
        ("192.168.5.4", "is not a valid bucket name: it is formatted as an IP address"),
        ("Artifacts", "is not a valid bucket name: use 3 to 63 lower-case letters, digits, `.` and `-`"),
        ("artifacts-", "is not a valid bucket name: use 3 to 63 lower-case letters, digits, `.` and `-`"),
        ("artifacts--x-s3", "is not the name of a general purpose bucket: AWS reserves names of this form"),
        ("xn--artifacts", "is not the name of a general purpose bucket: AWS reserves names of this form"),
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint", "is an ARN: use the name of the bucket"),
    ],
)
def test_names_that_no_bucket_has(tmp_path: Path, bucket: str, fact: str) -> None:
    """A name that AWS allows for no bucket is an error that says why, both as `bucket` and in `store`."""
    with pytest.raises(InvalidConfigError) as published:
        configured(tmp_path, f'bucket = "{bucket}"')
    (tmp_path / "pyproject.toml").write_text(f'[tool.lamina]\nstore = "s3://{bucket}/cache"\n')
    with pytest.raises(InvalidConfigError) as stored:
        load_service(tmp_path)

    assert published.value.mistakes == (("tool.lamina.publish.bucket", f"`{bucket}` {fact}"),)
    assert ("tool.lamina.store", f"`{bucket}` {fact}") in stored.value.mistakes


@pytest.mark.parametrize("bucket", ["a.b.c", "artifacts-{account}-{region}", "team-1a2b3c-s3alias", "0.1.2"])
def test_names_that_a_bucket_has(tmp_path: Path, bucket: str) -> None:
    """Every name that a bucket can have is accepted, and so is the alias of an access point."""
    assert bucket == configured(tmp_path, f'bucket = "{bucket}"').bucket


def test_reserved_names_of_parameters(tmp_path: Path) -> None:
    """Parameter paths that AWS reserves are rejected before the layer is published."""
    with pytest.raises(InvalidConfigError) as caught:
        configured(tmp_path, 'ssm-prefix = "/AWS/{service}"')

    assert caught.value.mistakes == (
        ("tool.lamina.publish.ssm-prefix", "`/AWS/{service}` is not a valid parameter path, such as `/layers`"),
    )
    assert configured(tmp_path, 'ssm-prefix = "/awsome/{service}"').ssm_prefix == "/awsome/{service}"


def test_reference_needs_a_bucket(tmp_path: Path) -> None:
    """`storage = "reference"` requires a bucket."""
    with pytest.raises(InvalidConfigError) as caught:
        configured(tmp_path, 'storage = "reference"')

    assert caught.value.mistakes == (
        ("tool.lamina.publish.storage", '`"reference"` requires `bucket` in `[tool.lamina.publish]`'),
    )


def test_names_are_filled_per_place() -> None:
    """Each account, region and partition fills the placeholders of the bucket's name."""
    account = Account(id="123456789012", partition="aws-cn", region="cn-north-1")

    assert fill("a-{account}-{region}-{partition}", account) == "a-123456789012-cn-north-1-aws-cn"


def test_names_of_layers(tmp_path: Path) -> None:
    """The template determines the layer's name, and dots are removed from the runtime because Lambda does not allow them."""
    build = make_build(make_layer(tmp_path, {"alpha": 1}))
    (wanted,) = desired_layers([build], PublishConfig(layer_name="{service}-{layer}-{runtime}-{architecture}"))

    assert wanted.name == "shop-common-python313-arm64"


def test_one_layer_of_several(tmp_path: Path) -> None:
    """`--layer` selects a layer by its name in the configuration."""
    layers = [make_layer(tmp_path, {"alpha": 1}, name=name) for name in ("common", "reporting")]

    assert ["shop-reporting"] == [
        each.name for each in desired_layers([make_build(*layers)], PublishConfig(), ["reporting"])
    ]
    with pytest.raises(ConfigError) as caught:
        desired_layers([make_build(*layers)], PublishConfig(), ["comon"])

    assert str(caught.value) == "the service has no layer `comon` (did you mean `common`?)"


def test_what_aws_would_refuse_is_refused_at_once(tmp_path: Path) -> None:
    """One error lists every invalid name and size of all layers, before a client exists."""
    large = dataclasses.replace(
        make_layer(tmp_path, {"big": PART}), zipped_bytes=52_428_801, unzipped_bytes=262_144_001
    )
    with pytest.raises(PublishError) as caught:
        desired_layers([make_build(large, service="my.shop")], PublishConfig())

    assert str(caught.value) == (
        "AWS would reject the layers for 3 reasons\n"
        "  the layer name `my.shop-common` is invalid: use only letters, digits, `-` and `_`\n"
        "  layer `common` is 262,144,001 bytes unzipped; Lambda's limit is 262,144,000 bytes\n"
        "  layer `common` is 52,428,801 bytes zipped; direct uploads are limited to 52,428,800 bytes: "
        "set `bucket` in `[tool.lamina.publish]`"
    )


def test_limits_themselves_are_fine(tmp_path: Path) -> None:
    """A layer exactly at the limits is accepted."""
    layer = dataclasses.replace(
        make_layer(tmp_path, {"big": PART}), zipped_bytes=52_428_800, unzipped_bytes=262_144_000
    )

    assert len(desired_layers([make_build(layer, service="s" * 133)], PublishConfig())) == 1
    with pytest.raises(PublishError):
        desired_layers([make_build(layer, service="s" * 134)], PublishConfig())


def test_layers_need_names_of_their_own(tmp_path: Path) -> None:
    """Two layers with the same name are rejected, because each run would publish both again."""
    layers = [make_layer(tmp_path, {"alpha": 1}, name=name) for name in ("common", "reporting")]
    with pytest.raises(PublishError) as caught:
        desired_layers([make_build(*layers)], PublishConfig(layer_name="{service}"))

    assert (
        str(caught.value)
        == "several layers would have the name `shop`: add `{layer}` to `layer-name` in `[tool.lamina.publish]`"
    )


def two_targets(directory: Path, *, native: bool) -> list[Build]:
    builds = []
    for architecture in ("arm64", "x86_64"):
        layer = make_layer(directory, {"alpha": 1})
        (alpha,) = layer.distributions
        if native:
            tagged = dataclasses.replace(alpha, artifact=f"alpha-1.0-cp313-cp313-manylinux_2_17_{architecture}.whl")
            layer = dataclasses.replace(layer, distributions=(tagged,), digest=architecture)
        build = make_build(layer)
        builds.append(dataclasses.replace(build, target=Target.of("python3.13", architecture)))
    return builds


def test_layer_without_native_code_is_wanted_once(tmp_path: Path) -> None:
    """A layer without native code is published once, for every architecture of the runtime."""
    (wanted,) = desired_layers(two_targets(tmp_path, native=False), PublishConfig())

    assert wanted.architectures == ("x86_64", "arm64")
    assert wanted.platform == "python3.13 on x86_64 and arm64"


def test_layers_that_no_placeholder_distinguishes(tmp_path: Path) -> None:
    """If the placeholders cannot tell two layers apart, the error does not ask to add one."""
    first, second = two_targets(tmp_path, native=True)
    with pytest.raises(PublishError) as caught:
        desired_layers([first, dataclasses.replace(second, target=first.target)], PublishConfig())

    assert str(caught.value) == (
        "several layers would have the name `shop-common`: rename a layer, because the names of both become the same in Lambda"
    )


def test_native_layers_of_several_targets(tmp_path: Path) -> None:
    """Native layers of several targets need a name that contains the target. Parameters and variables contain it, too."""
    builds = two_targets(tmp_path, native=True)
    with pytest.raises(PublishError) as caught:
        desired_layers(builds, PublishConfig())

    assert str(caught.value) == (
        "several layers would have the name `shop-common`: add `{architecture}` to `layer-name` in `[tool.lamina.publish]`"
    )
    wanted = desired_layers(builds, PublishConfig(layer_name="{layer}-{architecture}"))

    assert [
        ("common-arm64", "common-python313-arm64", ("arm64",)),
        ("common-x86_64", "common-python313-x86_64", ("x86_64",)),
    ] == [(each.name, each.label, each.architectures) for each in wanted]
