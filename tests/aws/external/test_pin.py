"""``lamina pin``: layers by ARN in every account and region, with what can go wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from externallayers import ARN, OTHER, base64_sha256, layer_zip
from lamina.cli.main import main
from lamina.project.config import load
from lamina.project.pinned import read_pins
from services import make_service

if TYPE_CHECKING:
    from pathlib import Path

    from externallayers import LayerServer
    from services import Service

TOOLS = layer_zip(
    {
        "python/tools/__init__.py": "",
        "python/tools/deep.py": "",
        "python/company/auth.py": "",
        "python/company/data.json": "{}",
        "python/six.py": "",
        "python/bin/tool.py": "",
        "python/__pycache__/six.cpython-313.pyc": "",
        "python/lib/python3.13/site-packages/fast.cpython-313-x86_64-linux-gnu.so": "",
        "python/lib/python3.12/site-packages/slow/__init__.py": "",
        "python/tools-1.dist-info/METADATA": "",
        "extensions/agent": "#!/bin/sh\n",
    }
)
AGENT = layer_zip({"extensions/datadog-agent": b"\x7fELF"})


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "store"))
    service = make_service(tmp_path)
    use(service, ARN, OTHER)
    return service


def use(service: Service, *arns: str) -> None:
    """Let the function have the layers *arns*, and write the service."""
    service.more["hello"] = f"layer-arns = {json.dumps(arns)}"
    service.write()


def pin(service: Service, *words: str) -> int:
    return main(["pin", *words, "--project", str(service.root)])


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Any:
    def read() -> str:
        return capsys.readouterr().err

    return read


def test_pins_what_aws_has(service: Service, layer_server: LayerServer, shown: Any) -> None:
    """Each layer is read once, in the region of its ARN, and the file lists what it contains, without its address."""
    layer_server.zips = {ARN: TOOLS, OTHER: AGENT}
    layer_server.says = {
        "CompatibleRuntimes": ["python3.13"],
        "CompatibleArchitectures": ["x86_64"],
        "LicenseInfo": 'MIT "0"',
    }

    assert pin(service) == 0

    output = shown()
    assert [("eu-west-1", ARN), ("us-east-1", OTHER)] == layer_server.asked
    assert [ARN, OTHER] == layer_server.downloads
    text = (service.root / "lamina-layers.lock").read_text()
    assert f'arn = "{ARN}"\ncode_sha256 = "{base64_sha256(TOOLS)}"\ncode_size = {len(TOOLS)}\n' in text
    assert "127.0.0.1" not in text + output
    assert "Signature" not in text + output
    tools, agent = read_pins(service.root)
    assert ("company.auth", "six", "tools") == tools.contents.modules
    assert {"fast", "company.auth", "six", "tools"} == tools.contents.modules_for((3, 13))
    assert {"slow", "company.auth", "six", "tools"} == tools.contents.modules_for((3, 12))
    assert (("agent",), 12) == (tools.contents.extensions, tools.contents.unzipped_bytes)
    assert (("python3.13",), ("x86_64",), 'MIT "0"') == (tools.runtimes, tools.architectures, tools.license)
    assert ((), ("datadog-agent",)) == (agent.contents.modules, agent.contents.extensions)
    assert f"pinned {ARN}\n" in output
    assert "wrote `lamina-layers.lock`; commit it\n" in output


def test_pinned_layers_are_left_alone(
    service: Service, layer_server: LayerServer, shown: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is pinned needs no request, a new ARN only its own, and a pin without a function goes away."""
    layer_server.zips = {ARN: TOOLS, OTHER: AGENT}
    use(service, ARN)
    assert pin(service) == 0
    first = (service.root / "lamina-layers.lock").read_bytes()
    layer_server.asked.clear()

    assert pin(service) == 0
    assert (first, []) == ((service.root / "lamina-layers.lock").read_bytes(), layer_server.asked)
    assert "nothing to do: `lamina-layers.lock` has all layers by ARN\n" in shown()

    use(service, OTHER, ARN)
    assert pin(service) == 0
    assert [("us-east-1", OTHER)] == layer_server.asked
    both = (service.root / "lamina-layers.lock").read_bytes()
    assert both.startswith(first)

    use(service, ARN)
    capsys.readouterr()
    assert pin(service, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert ([OTHER], [(ARN, False)]) == (
        document["removed"],
        [(row["arn"], row["added"]) for row in document["layers"]],
    )
    assert (service.root / "lamina-layers.lock").read_bytes() == first

    del service.more["hello"]
    service.write()
    assert pin(service) == 0
    assert not (service.root / "lamina-layers.lock").exists()


def test_other_content_is_never_taken_over(service: Service, layer_server: LayerServer, shown: Any) -> None:
    """If AWS has another hash for a pinned ARN, that is an error, and the file stays."""
    layer_server.zips = {ARN: TOOLS, OTHER: AGENT}
    pin(service)
    before = (service.root / "lamina-layers.lock").read_bytes()
    assert pin(service, ARN) == 0
    assert f"unchanged {ARN}: AWS has the pinned content\n" in shown()

    layer_server.zips[ARN] = AGENT
    assert pin(service, ARN) == 6

    assert (service.root / "lamina-layers.lock").read_bytes() == before
    message = shown()
    assert (
        f"error: layer `{ARN}` is not the pinned one: `lamina-layers.lock` has SHA-256 `{base64_sha256(TOOLS)}`"
        in message
    )
    assert f"AWS has `{base64_sha256(AGENT)}` and {len(AGENT):,} bytes" in message


@pytest.mark.parametrize("sent", [TOOLS[:-1] + b"x", TOOLS[:-1], TOOLS + b"x", AGENT])
def test_a_download_must_be_what_lambda_reports(
    service: Service, layer_server: LayerServer, shown: Any, sent: bytes
) -> None:
    """A zip of another size or hash is not stored, and not pinned."""
    use(service, ARN)
    layer_server.zips[ARN], layer_server.sent[ARN] = TOOLS, sent

    assert pin(service) == 6

    assert f"error: the download of layer `{ARN}` does not match the size and SHA-256 that Lambda reports" in shown()
    assert not (service.root / "lamina-layers.lock").exists()
    assert [] == list((service.root.parent / "store").rglob("*.zip"))


def test_a_layer_larger_than_lambda_allows_is_not_downloaded(
    service: Service, layer_server: LayerServer, shown: Any
) -> None:
    """The size that the response states is checked before the download."""
    use(service, ARN)
    layer_server.zips[ARN] = TOOLS
    layer_server.says = {
        "Content": {"Location": layer_server.url, "CodeSha256": base64_sha256(TOOLS), "CodeSize": 1 << 40}
    }

    assert pin(service) == 6
    assert "more than Lambda allows" in shown()
    assert [] == layer_server.downloads


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (layer_zip({"../escape.py": ""}), "has a member whose path"),
        (b"PK-no-zip", "is not a zip or is truncated"),
        (TOOLS + b"PK", "has extra bytes after its end record"),
        (b"", "is not a zip or is truncated"),
    ],
)
def test_a_hostile_zip_is_not_pinned(
    service: Service, layer_server: LayerServer, shown: Any, content: bytes, fact: str
) -> None:
    """A zip that programs could unpack differently or outside their directory is refused; the other layers are pinned."""
    layer_server.zips = {ARN: content, OTHER: AGENT}

    assert pin(service) == 5

    assert f"error: `{ARN}` {fact}" in shown()
    pins = read_pins(service.root)
    assert [OTHER] == [each.arn for each in pins]
    assert [pins[0].sha256] == [path.stem for path in (service.root.parent / "store" / "external").rglob("*.zip")]


@pytest.mark.parametrize(
    ("says", "fact"),
    [
        ({"CompatibleRuntimes": "python3.13"}, "the response to the request to `lambda` is not from AWS"),
        ({"CompatibleArchitectures": [1]}, "the response to the request to `lambda` is not from AWS"),
        ({"LayerVersionArn": OTHER}, "the response to the request to `lambda` is not from AWS"),
        ({"Location": "http://[::1"}, "the address in the response is invalid"),
        ({"Location": "http://[very-secret/"}, "the address in the response is invalid"),
    ],
)
def test_responses_that_are_not_from_aws(
    service: Service, layer_server: LayerServer, shown: Any, says: dict[str, Any], fact: str
) -> None:
    """A response in another form is one error without the address, and pins nothing."""
    use(service, ARN)
    layer_server.zips[ARN] = TOOLS
    content = {"CodeSha256": base64_sha256(TOOLS), "CodeSize": len(TOOLS)}
    layer_server.says = {"Content": content | says} if "Location" in says else says

    assert pin(service) == 6

    text = shown()
    assert fact in text
    assert "very-secret" not in text
    assert not (service.root / "lamina-layers.lock").exists()


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (
            " because no identity-based policy allows the lambda:GetLayerVersion action",
            (
                "your role or user has no policy that allows `lambda:GetLayerVersion` on it",
                f'`{{"Effect": "Allow", "Action": "lambda:GetLayerVersion", "Resource": "{ARN}"}}`',
            ),
        ),
        (
            " because no resource-based policy allows the lambda:GetLayerVersion action",
            (
                "the version was deleted, or its publisher does not share it with your account",
                "set a newer one in `layer-arns`",
            ),
        ),
        (
            "",
            (
                "a policy forbids `lambda:GetLayerVersion` on it, or none allows it, or its publisher does not share this version, or has deleted it",
                '"Effect": "Allow"',
            ),
        ),
    ],
)
def test_denied(service: Service, layer_server: LayerServer, shown: Any, end: str, words: tuple[str, str]) -> None:
    """The message tells a missing policy from a version that is not shared, as far as Lambda does."""
    use(service, ARN)
    layer_server.denied[ARN] = end

    assert pin(service) == 6

    text = shown()
    assert f"layer `{ARN}`: {words[0]}\n" in text
    assert words[1] in text.partition("hint: ")[2]


def test_several_failures_are_one_error(service: Service, layer_server: LayerServer, shown: Any) -> None:
    """All layers that cannot be pinned are in one message."""
    layer_server.denied[OTHER] = " because no resource-based policy allows it"

    assert pin(service) == 6

    text = shown()
    assert text.startswith("error: 2 layers could not be pinned:\n")
    assert f"  cannot read layer `{ARN}`: the version was deleted, or its publisher" in text
    assert f"  cannot read layer `{OTHER}`: the version was deleted, or its publisher" in text


def test_a_failure_removes_no_pin(
    service: Service, layer_server: LayerServer, shown: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pin whose ARN was replaced by one that cannot be pinned stays; what else was pinned is written and listed."""
    layer_server.zips = {ARN: TOOLS, OTHER: AGENT}
    use(service, ARN)
    assert pin(service) == 0
    shown()
    use(service, ARN.replace(":7", ":8"), OTHER)

    assert pin(service) == 6

    text = shown()
    assert [ARN, OTHER] == [each.arn for each in read_pins(service.root)]
    assert f"pinned {OTHER}\n" in text.partition("error: ")[0]
    assert "wrote `lamina-layers.lock`; commit it\n" in text.partition("error: ")[0]
    assert "removed" not in text

    assert pin(service, "--json") == 6
    report = json.loads(capsys.readouterr().out)
    assert [(ARN, False), (OTHER, False)] == [(row["arn"], row["added"]) for row in report["layers"]]
    assert report["error"]["exit_code"] == 6


OPEN = ARN.replace("arn:aws:", "arn:*:").replace("eu-west-1", "*")


@pytest.mark.parametrize("places", ["environment", "publish"])
def test_a_region_that_only_the_deployment_knows(
    service: Service, layer_server: LayerServer, shown: Any, monkeypatch: pytest.MonkeyPatch, places: str
) -> None:
    """The region of the configuration takes the place of `*`; the pin is used for the ARN as the configuration has it."""
    layer_server.zips = {ARN: TOOLS, OTHER: AGENT}
    use(service, OPEN, OTHER)
    if places == "publish":
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        service.settings["publish"] = '{ regions = ["eu-west-1"] }'
        service.write()
    else:
        monkeypatch.setenv("AWS_REGION", "eu-west-1")

    assert pin(service) == 0

    assert [ARN, OTHER] == [each.arn for each in read_pins(service.root)]
    assert f"pinned {ARN}\n" in shown()
    loaded = load(service.root)
    sizes = [each.contents.unzipped_bytes for each in loaded.pinned]
    assert dict(zip([OPEN, OTHER], sizes, strict=True)) == loaded.external_bytes
    asked = list(layer_server.asked)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert pin(service) == 0
    assert "nothing to do: " in shown()
    assert pin(service, ARN) == 0
    assert f"unchanged {ARN}: " in shown()
    assert [*asked, ("eu-west-1", ARN)] == layer_server.asked


def test_parts_that_nothing_decides(
    service: Service, layer_server: LayerServer, shown: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a region, and without a version, a note names the setting to write; the other layers are pinned."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    layer_server.zips = {OTHER: AGENT}
    nameless = ARN.replace(":7", ":*")
    use(service, OPEN, nameless, OTHER)

    assert pin(service) == 0

    assert [OTHER] == [each.arn for each in read_pins(service.root)]
    text = shown()
    assert (
        f"note: `{OPEN}` is not pinned: only the deployment knows its region; set `AWS_REGION`, or write the region in `layer-arns`\n"
        in text
    )
    assert (
        f"note: `{nameless}` is not pinned: only the deployment knows its version; write the version in `layer-arns`\n"
        in text
    )


def test_without_credentials(service: Service, layer_server: LayerServer, shown: Any, monkeypatch: Any) -> None:
    """Missing credentials are one error, not one for each layer."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    assert pin(service) == 6
    assert shown().startswith("error: no AWS credentials were found\n")
    assert layer_server.asked == []


def test_layers_that_nothing_can_pin(service: Service, layer_server: LayerServer, shown: Any) -> None:
    """A layer of the service itself cannot be downloaded; an ARN that no function has is a mistake."""
    use(service, "arn:aws:lambda:::awslayer:AmazonLinux1803")

    assert pin(service) == 0
    assert (
        "note: `arn:aws:lambda:::awslayer:AmazonLinux1803` is not pinned: it is not the ARN of one version of a layer in an account\n"
        in shown()
    )
    assert pin(service, ARN) == 2
    assert f'hint: set `layer-arns = ["{ARN}"]` for a function first\n' in shown()
    assert layer_server.asked == []
