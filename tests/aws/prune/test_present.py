"""Tests of the layer versions that a project needs: those of its lock file, its last build and its configuration."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from aws.fakes import Cloud, Version
from lamina.aws.api.functions import Zip
from lamina.aws.api.layers import LayerVersion, Publication
from lamina.aws.destination.destination import Cancellation, Destination
from lamina.aws.destination.naming import describe
from lamina.aws.prune.apply import survey
from lamina.aws.prune.plan import RetentionRules
from lamina.aws.prune.present import NO_PROJECT, LockedLayer, read_project
from lamina.aws.prune.service import plan_everywhere, read_scope
from lamina.aws.publish import config
from lamina.core.errors import InvalidConfigError, LockSyntaxError
from lamina.core.reporter import Silent
from lamina.core.target import Target
from lamina.core.values import DirectorySource, Pin, Sha256, SourcePin
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from services import Service, make_service

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.aws.prune.present import ProjectLayers

DIGEST = "d" * 64
ARM = Target.of("python3.13", "arm64")
ARN = "arn:aws:lambda:eu-west-1:123456789012:layer:greeter-common"
NOW = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "cache"))
    return make_service(tmp_path)


def read(service: Service) -> ProjectLayers:
    return read_project(service.root, config.load(service.root))


def version(description: str, *, number: int = 1) -> LayerVersion:
    return LayerVersion(
        name="greeter-common", number=number, arn=f"{ARN}:{number}", description=description, created=NOW
    )


def pin(name: str, version: str) -> Pin:
    return Pin(
        name=name, version=version, filename=f"{name}-{version}-py3-none-any.whl", sha256=Sha256("0" * 64), url="x"
    )


def test_the_present_lock_file_and_the_last_build(service: Service) -> None:
    """The layer of the present lock file is needed without a build, and that of the last build even if the lock file has changed."""
    service.write()
    locked = read(service)
    (layer,) = build(service.root, BuildOptions()).build.layers
    service.add("beta", "3.0", {"beta.py": "import alpha\n"})
    service.write()
    after = read(service)
    description = describe(layer.digest, "python3.13 on x86_64", layer.distributions)

    assert ([layer.digest], []) == (list(locked.locked), list(locked.built))
    assert (1, [layer.digest]) == (len(after.locked - {layer.digest}), list(after.built))
    assert "the layer of the present lock file" == locked.reason(version(description))
    assert "the layer of the last build" == after.reason(version(description))
    assert None is locked.reason(version("made by hand"))


@pytest.mark.parametrize(
    "arn", [ARN, "arn:*:lambda:*:${AWS::AccountId}:layer:greeter-common", ARN.replace("eu-west-1", "${AWS::Region}")]
)
def test_layers_in_the_configuration(service: Service, arn: str) -> None:
    """
    A version in `layer-arns` of a function is needed even if lamina did not publish it; other versions of its layer are not.

    A template can leave region and account to the deployment.
    """
    service.more["hello"] = f'layer-arns = ["{arn}:7"]'
    service.write()
    needed = read(service)

    assert "in `layer-arns` of function `hello`" == needed.reason(version("made by hand", number=7))
    assert None is needed.reason(version("made by hand", number=8))


@pytest.mark.parametrize(
    ("platform", "pins", "needed"),
    [
        ("python3.13 on arm64", {"alpha": "1.0", "beta": "2.0"}, True),
        ("python3.13 on x86_64 and arm64", {"alpha": "1.0", "beta": "2.0"}, True),
        ("python3.13 on x86_64", {"alpha": "1.0", "beta": "2.0"}, False),
        ("python3.12 on arm64", {"alpha": "1.0", "beta": "2.0"}, False),
        ("python3.13 on arm64", {"alpha": "1.0", "beta": "2.1"}, False),
        ("python3.13 on arm64", {"alpha": "1.0"}, False),
        ("python3.13 on arm64", {"alpha": "1.0", "beta": "2.0", "gamma": "1"}, False),
    ],
)
def test_a_layer_with_an_unknown_digest(platform: str, pins: dict[str, str], *, needed: bool) -> None:
    """It may be each version with its runtime and architecture and with exactly its distributions."""
    layer = LockedLayer(target=ARM, pins=(pin("beta", "2.0"), pin("alpha", "1.0")))

    assert needed is layer.may_be(describe(DIGEST, platform, [pin(*each) for each in pins.items()]), DIGEST)


def test_a_description_that_is_too_long_for_all_distributions() -> None:
    """A version that only counts some of its distributions may be the layer if it lists the others."""
    pins = [pin(f"distribution-{number:02}", "1.0") for number in range(40)]
    layer = LockedLayer(target=ARM, pins=tuple(pins))
    last = [*pins[:-1], pin("distribution-39", "1.1")]
    first = [pin("distribution-00", "1.1"), *pins[1:]]

    assert [True, True, False] == [
        layer.may_be(describe(DIGEST, "python3.13 on arm64", each), DIGEST) for each in (pins, last, first)
    ]


def test_a_local_package_of_unknown_version(tmp_path: Path) -> None:
    """If the version of a distribution is known only after its build, every version of the layer may be the one."""
    source = SourcePin(
        name="local", version="dynamic", filename="local (local)", sha256=Sha256("0" * 64), url="",
        source=DirectorySource(name="local", version=None, path=tmp_path),
    )  # fmt: skip

    assert LockedLayer(target=ARM, pins=(source,)).may_be(describe(DIGEST, "python3.13 on arm64", []), DIGEST)


def test_a_project_without_service_or_lock_file(service: Service) -> None:
    """A configuration with tables of commands only, and a service without lock file, need no layers."""
    service.write()
    (service.root / "pylock.toml").unlink()
    without_lock = read(service)
    (service.root / "pyproject.toml").write_text('[project]\nname = "x"\n[tool.lamina.publish]\nbucket = "b-1"\n')

    assert (NO_PROJECT, NO_PROJECT) == (without_lock, read(service))


def test_a_missing_lock_file_is_noted(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a lock file, nothing says which layer versions the project needs; the user learns of it before anything is deleted."""
    notes: list[str] = []
    monkeypatch.setattr(Silent, "note", lambda _, message: notes.append(message))
    service.write()
    (service.root / "pylock.toml").unlink()
    read(service)

    assert ["the project has no lock file, so lamina does not know which layer versions it needs now"] == notes


def test_what_cannot_be_read_is_an_error(service: Service) -> None:
    """An invalid lock file or configuration may need any layer, so nothing is pruned."""
    service.write()
    (service.root / "pylock.toml").write_text("lock-version = [")
    with pytest.raises(LockSyntaxError):
        read(service)
    service.settings["runtime"] = '"python2.7"'
    service.write()
    with pytest.raises(InvalidConfigError):
        read(service)


@pytest.mark.parametrize(
    ("prefix", "layers", "expected"),
    [
        ("/layers", (), [1, 2, 3]),
        ("/layers/{service}", (), [2, 3]),
        ("/layers/{service}", ("greeter-common",), [1, 2, 3]),
        ("/{service}", ("greeter-common",), [1, 2, 3, 4]),
        ("/{service}-layers", (), []),
        ("/layers/{account}/{region}", (), []),
    ],
)
def test_parameters(service: Service, prefix: str, layers: tuple[str, ...], expected: list[int]) -> None:
    """Each ARN in the value of a parameter below the prefix keeps its version, for other layers also those of other services."""
    service.write()
    file = service.root / "pyproject.toml"
    file.write_text(f'{file.read_text()}\n[tool.lamina.publish]\nssm-prefix = "{prefix}"\n')
    cloud = Cloud()
    cloud.parameters = {
        "/layers/other/common": f"{ARN}:1",
        "/layers/greeter/list": f"arn:aws:s3:::bucket,{ARN}:2",
        "/layers/greeter/deep/json": f'{{"layers": ["{ARN}:3"]}}',
        "/elsewhere/common": f"{ARN}:4",
        "/layers/greeter/unversioned": ARN,
    }
    publishing = config.load(service.root)
    scope = read_scope(service.root, publishing, layers=layers, everything=False)
    guards = scope.guards(Destination(cloud.connect(), bucket=None, prefix=""), values=1)

    assert sorted(f"{ARN}:{number}" for number in expected) == sorted(guards.named(Cancellation()))


@pytest.mark.parametrize(
    ("packaging", "deleted"), [("layer", ["greeter-old"]), ("zip", ["greeter-common", "greeter-old"])]
)
def test_layers_that_the_service_does_not_publish(service: Service, packaging: str, deleted: list[str]) -> None:
    """Versions of a layer that is only in zips now, or that the configuration no longer has, are pruned, also the newest."""
    service.settings["packaging"] = f'"{packaging}"'
    service.write()
    cloud = Cloud()
    description = describe(DIGEST, "python3.13 on x86_64", (), service="greeter")
    publication = Publication(name="", description="", code=Zip(content=b""), runtimes=(), architectures=())
    created = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    cloud.versions = {
        name: [Version(number=1, description=description, content=b"", publication=publication, created=created)]
        for name in ("greeter-common", "greeter-old", "other-old")
    }
    scope = read_scope(service.root, config.load(service.root), layers=(), everything=False)
    destination = Destination(cloud.connect(), bucket=None, prefix="")
    plan = plan_everywhere([destination], scope, RetentionRules(keep=5, keep_days=14))

    assert deleted == [version.name for version in plan.surveys[destination].deletions]


def test_no_parameters_are_read_without_a_prefix(service: Service) -> None:
    """Without `ssm-prefix`, pruning needs no permission for parameters."""
    service.write()
    fake = Cloud().connect()
    scope = read_scope(service.root, config.load(service.root), layers=(), everything=True)
    guards = scope.guards(Destination(fake, bucket=None, prefix=""), values=1)
    survey(fake.inventory, scope.names, RetentionRules(keep=1, keep_days=0), guards=guards)

    assert None is scope.names
    assert [] == fake.calls
