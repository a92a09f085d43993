"""Which distributions a database can be asked about, by where the lock file says that they come from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from audit.test_external_layers import stored
from externallayers import ARN, OTHER, layer_zip
from lamina.audit.inventory.built import EXTERNAL, LAYER, Audited
from lamina.audit.inventory.origins import LockedOrigins
from lamina.core.indexes import default_index
from lamina.core.store import Store
from lamina.pipeline.build import build
from lamina.project import config
from lamina.project.options import BuildOptions
from lamina.project.pinned import write_pins
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

    from lamina.project.service import Service

WHEEL = (
    '[[packages.wheels]]\nurl = "https://127.0.0.1/{name}-1.0-py3-none-any.whl"\nhashes = {{ sha256 = "'
    + "0" * 64
    + '" }}\n'
)
MIRROR = "https://127.0.0.1/mirror/simple"
CURE = "if it is public, pass `--all`"
POWERTOOLS = "arn:aws:lambda:eu-west-1:017000801446:layer:AWSLambdaPowertoolsPythonV3-python313-x86_64:7"
OWN = "https://127.0.0.1/own/simple"


def origins(tmp_path: Path, *lines: str, everything: bool = False) -> LockedOrigins:
    """Lock the distribution `alpha` with *lines*, and return the origins in the lock file."""
    root = make_service(tmp_path).write()
    source = ["[[packages]]", 'name = "alpha"', *lines]
    (root / "pylock.toml").write_text("\n".join(['lock-version = "1.0"', 'created-by = "tests"', *source, ""]))
    service = config.load(root, store=Store.open(tmp_path / "store"))
    return LockedOrigins(root, service, everything=everything)


def obstacle(tmp_path: Path, *lines: str, everything: bool = False) -> str | None:
    found = origins(tmp_path, *lines, everything=everything).obstacle("alpha")
    return None if found is None else str(found)


def of_index(url: str) -> tuple[str, ...]:
    return ('version = "1.0"', f'index = "{url}"', WHEEL.format(name="alpha"))


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (('directory = { path = "alpha" }',), "a local package"),
        (
            ('vcs = { type = "git", url = "https://127.0.0.1/a.git", commit-id = "' + "0" * 40 + '" }',),
            "from a git repository",
        ),
        (
            (
                'version = "1.0"',
                'archive = { url = "https://127.0.0.1/alpha-1.0-py3-none-any.whl", hashes = { sha256 = "'
                + "0" * 64
                + '" } }',
            ),
            "from a URL or a file",
        ),
        (
            ('version = "1.0"', WHEEL.format(name="alpha").replace("url", "path").replace("https://127.0.0.1/", "")),
            "from a URL or a file",
        ),
        (of_index(OWN), f"from the index `{OWN}`"),
    ],
    ids=["directory", "git", "archive", "path", "index"],
)
def test_obstacles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: tuple[str, ...], reason: str) -> None:
    """What is not from the default index is not asked about; the name of another index's distribution only on request."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", MIRROR)

    found = obstacle(tmp_path, *lines)

    assert found is not None
    assert found.startswith(reason)
    assert (obstacle(tmp_path, *lines, everything=True) is None) is (lines == of_index(OWN))


@pytest.mark.parametrize("url", [MIRROR, f"{MIRROR}/", MIRROR.replace("//", "//user:hidden@"), default_index()])
def test_the_default_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The default index is the one of the project, such as a mirror, or the public one."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", MIRROR)
    monkeypatch.setenv("UV_INDEX", OWN)

    assert obstacle(tmp_path, *of_index(url)) is None


def test_a_lock_that_names_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one index, everything is from it. With several, nothing says which one."""
    lines = ('version = "1.0"', WHEEL.format(name="alpha"))
    assert obstacle(tmp_path, *lines) is None
    monkeypatch.setenv("UV_INDEX", OWN)
    assert (
        obstacle(tmp_path, *lines)
        == f"from one of several indexes, and the pylock.toml does not say from which; {CURE}"
    )
    assert obstacle(tmp_path, *lines, everything=True) is None


def test_what_is_not_locked(tmp_path: Path) -> None:
    """The metadata in a zip may claim anything, so that only the lock file, and layers of known publishers, make a name public."""
    found = origins(tmp_path, *of_index(default_index()))

    assert f"in no lock file that says where it comes from; {CURE}" == str(found.obstacle("beta"))
    assert found.obstacle("beta", [ARN]) is not None
    assert found.obstacle("beta", [ARN, POWERTOOLS]) is None
    assert found.obstacle("beta", [POWERTOOLS.replace("Powertools", "Other")]) is not None
    assert origins(tmp_path, *of_index(OWN), everything=True).obstacle("beta") is None
    assert LockedOrigins(tmp_path, None).obstacle("alpha") is not None


def test_what_the_lock_says_of_a_name_comes_first(tmp_path: Path) -> None:
    """The name of a local package stays secret, whatever layers have a distribution of this name."""
    found = origins(tmp_path, 'directory = { path = "alpha" }', everything=True)

    assert "a local package" == str(found.obstacle("alpha", [POWERTOOLS]))


def test_all_targets_count(tmp_path: Path) -> None:
    """A name is secret if the lock file says so for one of the targets."""
    made = make_service(tmp_path)
    made.settings["targets"] = '["python3.13-arm64", "python3.12-arm64"]'
    del made.settings["runtime"], made.settings["architecture"]
    root = made.write()
    entries = [("python_version == '3.13'", default_index()), ("python_version == '3.12'", OWN)]
    packages = [
        "\n".join(["[[packages]]", 'name = "alpha"', f'marker = "{marker}"', *of_index(url)]) for marker, url in entries
    ]
    (root / "pylock.toml").write_text("\n".join(['lock-version = "1.0"', 'created-by = "tests"', *packages]))
    service = config.load(root, store=Store.open(tmp_path / "store"))

    assert "which is not the default one" in str(LockedOrigins(root, service).obstacle("alpha"))


def audited_external(tmp_path: Path, *targets: str, arn: str = ARN) -> tuple[Audited, Service]:
    """Build a service with two layers of another account, of which the store has the one named *arn*."""
    store = Store.open(tmp_path / "store")
    made = make_service(tmp_path)
    made.more["hello"] = f'layer-arns = ["{arn}", "{OTHER}"]'
    made.settings |= {"allow-layers": '[{ arn = "arn:aws:lambda:*:*:layer:*", reason = "bought" }]', "sdk": '"runtime"'}
    if targets:
        made.settings["targets"] = json.dumps(targets)
        del made.settings["runtime"], made.settings["architecture"]
    metadata = "Metadata-Version: 2.1\nName: {}\nVersion: 3.0\n"
    files = {f"python/{name}-3.0.dist-info/METADATA": metadata.format(name) for name in ("Gamma", "alpha")}
    content = layer_zip({"python/loose.py": "", "python/gamma.py": "", **files})
    other = stored(store, layer_zip({"python/absent.py": ""}), OTHER)
    write_pins(made.write(), [stored(store, content, arn), other])
    store.entry("external", other.sha256, ".zip").unlink()
    service = config.load(made.root, store=store)
    built = build(made.root, BuildOptions(offline=True), store=store)
    return Audited(service, [each.build for each in built.targets], store), service


def test_code_of_others(tmp_path: Path) -> None:
    """A layer of another account may be one of the company: names that only it has are not asked about. So is what was not read."""
    audited, service = audited_external(tmp_path)

    found = {(each.name, each.version): each for each in audited.distributions(LockedOrigins(service.root, service))}
    assert (f"in no lock file that says where it comes from; {CURE}", (ARN,)) == (
        str(found["gamma", "3.0"].obstacle),
        found["gamma", "3.0"].places,
    )
    for version in ("1.0", "3.0"):
        assert "from a URL or a file, and not from an index" == str(found["alpha", version].obstacle)
    unknown = {each.place: each.what for each in audited.unknown()}
    assert unknown[ARN] == "modules without metadata: `loose`"
    assert unknown[OTHER] == "a layer by ARN that is not in the store; run `lamina pin`"
    assert unknown["greeter"].startswith("the AWS SDK of the runtime: `boto3`, `botocore`")


def test_code_of_known_publishers(tmp_path: Path) -> None:
    """What a known publisher's layer has is public, unless the lock file has the name from elsewhere."""
    audited, service = audited_external(tmp_path, arn=POWERTOOLS)

    found = {(each.name, each.version): each for each in audited.distributions(LockedOrigins(service.root, service))}
    assert found["gamma", "3.0"].obstacle is None
    assert found["alpha", "3.0"].obstacle is not None


def test_a_layer_by_arn_is_audited_once(tmp_path: Path) -> None:
    """A service for two architectures uses the same layer for both."""
    audited, _ = audited_external(tmp_path, "python3.13-x86_64", "python3.13-arm64")

    assert [ARN] == [each.name for each in audited.zips if each.kind == EXTERNAL]
    assert len({each.target for each in audited.zips if each.kind == LAYER}) == 2
    places = [each.place for each in audited.unknown()]
    assert len(places) == len(set(places)) == 3


def test_requirements_with_a_further_index(tmp_path: Path) -> None:
    """If a lock lists a further index, and does not show which distributions are from it, nothing is asked about."""
    root = make_service(tmp_path).write()
    (root / "pylock.toml").unlink()
    (root / "requirements.txt").write_text(f"--extra-index-url {OWN}\nalpha==1.0 --hash=sha256:{'0' * 64}\n")
    service = config.load(root, store=Store.open(tmp_path / "store"))

    assert f"from the index `{OWN}`, which is not the default one; {CURE}" == str(
        LockedOrigins(root, service).obstacle("alpha")
    )
    assert LockedOrigins(service.root, service, everything=True).obstacle("alpha") is None


def test_a_distribution_from_two_places(tmp_path: Path) -> None:
    """If two groups have the same distribution from different indexes, the one that may be secret counts."""
    root = make_service(tmp_path).write()
    entries = [("'one' in dependency_groups", default_index()), ("'two' in dependency_groups", OWN)]
    packages = [
        "\n".join(["[[packages]]", 'name = "alpha"', f'marker = "{marker}"', *of_index(url)]) for marker, url in entries
    ]
    head = 'lock-version = "1.0"\ncreated-by = "tests"\ndependency-groups = ["one", "two"]\n'
    (root / "pylock.toml").write_text("\n".join([head, *packages]))
    with (root / "pyproject.toml").open("a") as file:
        file.write('[tool.lamina.layers.common]\ngroups = ["one"]\n[tool.lamina.layers.b]\ngroups = ["two"]\n')
    service = config.load(root, store=Store.open(tmp_path / "store"))

    assert "which is not the default one" in str(LockedOrigins(service.root, service).obstacle("alpha"))
