"""Scenarios for the fault tests: each has its own names in AWS, and can check the state that it may leave."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aws.lambdafakes import code
from aws.made import make_record
from lamina.aws.publish.config import PublishConfig
from lamina.aws.publish.desired import desired_layers
from lamina.pipeline.build import build
from lamina.project.options import BuildOptions
from services import HANDLER, make_service

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from emulators import Emulator
    from lamina.core.values import Build
    from services import Service

JOURNEYS = ("publish", "direct", "deploy", "create", "bump")
ROLE = "arn:aws:iam::000000000000:role/service"
EARLIER = "lamina:" + "0" * 64
_BIG = 5_300_000
_ACCOUNT = "123456789012"

Pair = tuple[str, tuple[str, ...]]
"""The code (base64 SHA-256) and the layers (ARNs) of a function version."""


def _sha256(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


@dataclass
class Ground:
    """Services that are built once, and AWS clients that inspect the emulator independently of lamina."""

    small: Service
    big: Service
    grouped: Service
    before: tuple[bytes, bytes]
    """The zip and the record of the layer of `grouped`, with an earlier version of one wheel."""
    emulator: Emulator
    bucket: str
    proven: set[str] = field(default_factory=set)
    """The ETags of objects whose content was compared with the layer and found identical."""

    def __post_init__(self) -> None:
        self.lambda_: Any = self.emulator.client("lambda")
        self.s3: Any = self.emulator.client("s3")
        self.ssm: Any = self.emulator.client("ssm")


def make_ground(directory: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """

    Build three services of small wheels.

    `small` has a few wheels. `big` also has one wheel that is a part of its own. `grouped` has so many that together they form a part.
    """
    small, big, grouped = (make_service(directory / name) for name in ("small", "big", "grouped"))
    big.add("big", "1.0", {"big/noise.bin": _noise(0, _BIG)})
    for number in range(6):
        grouped.add(f"wheel{number}", "1.0", {f"wheel{number}/noise.bin": _noise(number, _BIG // 5)})
    before = _built(grouped, monkeypatch)
    content = before.layers[0].path.read_bytes()
    grouped.add("wheel3", "1.1", {"wheel3/noise.bin": _noise(9, _BIG // 5)})
    for service in (small, big, grouped):
        _built(service, monkeypatch)
    (wanted,) = desired_layers((before,), PublishConfig())
    return Ground(
        small=small,
        big=big,
        grouped=grouped,
        before=(content, make_record(wanted)),
        emulator=emulator,
        bucket=emulator.make_bucket(f"b{uuid.uuid4().hex[:12]}"),
    )


def _noise(seed: int, size: int) -> bytes:
    """Return incompressible bytes."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - not for secrets


def _built(service: Service, monkeypatch: pytest.MonkeyPatch) -> Build:
    # Building from a bucket without the wheels is not part of these scenarios, so the wheels stay in a local store.
    monkeypatch.setenv("LAMINA_CACHE_DIR", os.fspath(service.root.parent / "cache"))
    built = build(service.write(), BuildOptions()).build
    assert built.ok
    return built


@dataclass
class Journey:
    """

    One scenario: `publish` with a bucket, `direct` without one, `deploy` to an existing function, or `create` a function.

    `whole` publishes a layer that is too small for parts through a bucket. `bump` publishes a part that S3 copies from the previous layer.
    """

    kind: str
    ground: Ground
    name: str = field(default_factory=lambda: f"j{uuid.uuid4().hex[:12]}")
    seen: list[str] = field(default_factory=list)
    """Invalid states that were observed during the scenario."""

    def __post_init__(self) -> None:
        self.service = {"publish": self.ground.big, "bump": self.ground.grouped}.get(self.kind, self.ground.small)
        self.old: Pair | None = None
        self._write()
        if self.kind == "publish":
            self._have_record(json.dumps({"version": "0"}).encode() + b" " * 1000)
        if self.kind == "bump":
            self._have_before()
        if self.kind == "deploy":
            self._have_old()

    def _write(self) -> None:
        root = self.service.write()
        (root / "service" / "handlers" / "hello.py").write_text(HANDLER)
        lines = ["[tool.lamina.publish]", f'layer-name = "{self.name}-{{layer}}"']
        if self.kind in {"publish", "whole", "bump"}:
            lines += [f'bucket = "{self.ground.bucket}"', f'prefix = "{self.name}/"']
        if self.kind in {"publish", "direct", "whole", "bump"}:
            lines += [f'share-with = ["{_ACCOUNT}"]', f'ssm-prefix = "/{self.name}"']
        lines += ["[tool.lamina.deploy]", f'function-name = "{self.name}-{{function}}"', 'alias = "live"', ""]
        with (root / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.write("\n".join(lines))

    def _have_record(self, record: bytes) -> None:
        """Create an earlier layer version, with its record in the bucket."""
        description = f"{EARLIER} python3.13 on x86_64"
        client = self.ground.lambda_
        client.publish_layer_version(
            LayerName=self.layer, Description=description, Content={"ZipFile": code("earlier")}
        )
        key = f"{self.name}/layers/{EARLIER.partition(':')[2]}.json"
        self.ground.s3.put_object(Bucket=self.ground.bucket, Key=key, Body=record)

    def _have_before(self) -> None:
        """Create an earlier layer version, with its record and its zip in the bucket."""
        content, record = self.ground.before
        digest = EARLIER.partition(":")[2]
        self._have_record(json.dumps(json.loads(record) | {"digest": digest}).encode())
        self.ground.s3.put_object(Bucket=self.ground.bucket, Key=f"{self.name}/layers/{digest}.zip", Body=content)

    def _have_old(self) -> None:
        """Create the function in the state of an earlier deployment: other code, and another version of the layer."""
        client, content = self.ground.lambda_, code("old")
        layer = client.publish_layer_version(LayerName=self.layer, Content={"ZipFile": code("old layer")})
        client.create_function(
            FunctionName=self.function,
            Role=ROLE,
            Code={"ZipFile": content},
            Handler="service.handlers.hello.lambda_handler",
            Runtime="python3.13",
            Layers=[layer["LayerVersionArn"]],
        )
        client.publish_version(FunctionName=self.function)
        client.create_alias(FunctionName=self.function, Name="live", FunctionVersion="1")
        self.old = (_sha256(content), (layer["LayerVersionArn"],))

    @property
    def layer(self) -> str:
        return f"{self.name}-common"

    @property
    def function(self) -> str:
        return f"{self.name}-hello"

    @property
    def words(self) -> list[str]:
        """The command line."""
        command = ["deploy"] if self.kind in {"deploy", "create"} else ["publish"]
        create = ["--create", "--role", ROLE] if self.kind == "create" else []
        return [*command, "--project", str(self.service.root), *create]

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of the command."""
        return {"LAMINA_CACHE_DIR": os.fspath(self.service.root.parent / "cache")}

    @property
    def zip(self) -> bytes:
        """The built zip of the layer."""
        return (self.service.root / ".lamina" / "layers" / "common.zip").read_bytes()

    @property
    def package(self) -> bytes:
        """The built function package."""
        return (self.service.root / ".lamina" / "functions" / "hello.zip").read_bytes()

    def versions(self) -> list[str]:
        """Return the ARNs of all versions whose description has the layer's digest. The content is checked elsewhere."""
        rows = self.ground.lambda_.list_layer_versions(LayerName=self.layer)["LayerVersions"]
        said = {row["LayerVersionArn"]: row.get("Description", "") for row in rows}
        return [arn for arn, text in said.items() if text.startswith("lamina:") and not text.startswith(EARLIER)]

    def wrong(self) -> list[str]:
        """Return violations of what must hold at any time: incomplete layers, duplicate versions, half-updated functions."""
        found = list(self.seen)
        versions = self.versions()
        if len(versions) > 1:
            found.append(f"{len(versions)} versions")
        for arn in versions:
            said = self.ground.lambda_.get_layer_version(
                LayerName=self.layer, VersionNumber=int(arn.rpartition(":")[2])
            )
            if said["Content"]["CodeSha256"] != _sha256(self.zip):
                found.append("a version is not the layer")
        if self.kind in {"publish", "whole", "bump"}:
            rows = self.ground.s3.list_objects_v2(Bucket=self.ground.bucket, Prefix=f"{self.name}/layers/")
            found += ["the object is not the layer" for row in rows.get("Contents", ()) if not self._is_layer(row)]
        return found + self.half()

    def _is_layer(self, row: dict[str, Any]) -> bool:
        proven = self.ground.proven
        before = row["Key"].endswith(f"{EARLIER.partition(':')[2]}.zip")
        if row["Key"].endswith(".zip") and not before and row["ETag"] not in proven:
            if self.ground.emulator.content(self.ground.bucket, row["Key"]) != self.zip:
                return False
            # Cache the result: comparing megabytes after every request would take longer than the rest of the test.
            proven.add(row["ETag"])
        return True

    def half(self) -> list[str]:
        """Return invalid states that callers of the function could see: a mixed version, or new code without its layer."""
        if self.kind not in {"deploy", "create"}:
            return []
        wanted = (_sha256(self.package), tuple(self.versions()[-1:]))
        served, latest = self.pair("live"), self.pair("$LATEST")
        found = []
        if served is not None and served not in {self.old, wanted}:
            found.append(f"the alias serves {served}")
        if latest is not None and latest[0] == wanted[0] and latest[1] != wanted[1]:
            found.append(f"new code with layers {latest[1]}")
        return found

    def pair(self, qualifier: str) -> Pair | None:
        """Return the code and layers of a version of the function, or ``None`` if it does not exist."""
        client = self.ground.lambda_
        try:
            said = client.get_function_configuration(FunctionName=self.function, Qualifier=qualifier)
        except client.exceptions.ResourceNotFoundException:
            return None
        return said["CodeSha256"], tuple(row["Arn"] for row in said.get("Layers", ()))

    def look(self, operation: str) -> None:
        """Record invalid states of the function after *operation*, unless the operation only reads."""
        if not operation.startswith(("Get", "List", "Head", "download", "Put")):
            self.seen += [f"after {operation}: {each}" for each in self.half()]

    def missing(self) -> list[str]:
        """Return every difference from the expected final state."""
        found = self.wrong()
        versions = self.versions()
        if len(versions) != 1:
            return [*found, f"{len(versions)} versions instead of 1"]
        (arn,) = versions
        if self.kind in {"publish", "direct", "whole", "bump"}:
            policy = self.ground.lambda_.get_layer_version_policy(
                LayerName=self.layer, VersionNumber=int(arn.rpartition(":")[2])
            )
            if [f"lamina-{_ACCOUNT}"] != [row["Sid"] for row in json.loads(policy["Policy"])["Statement"]]:
                found.append(f"shared as {policy['Policy']}")
            parameter = self.ground.ssm.get_parameter(Name=f"/{self.name}/common")["Parameter"]["Value"]
            if parameter != arn:
                found.append(f"the parameter says {parameter}")
        else:
            wanted = (_sha256(self.package), (arn,))
            found += [f"{each} is {self.pair(each)}" for each in ("live", "$LATEST") if self.pair(each) != wanted]
        # An upload that was left while copying a part has a random key. Only `lamina prune` can find it.
        left = [each for each in self.uploads() if self.kind != "bump" or "/layers/" in each]
        return found + [f"an upload of {each} is open" for each in left]

    def untouched(self) -> list[str]:
        """Return every difference from the state before the command."""
        found = self.wrong()
        if self.kind in {"deploy", "create"}:
            found += [f"{each} is {self.pair(each)}" for each in ("live", "$LATEST") if self.pair(each) != self.old]
        else:
            found += [f"an upload of {each} is open" for each in self.uploads()]
            rows = self.ground.s3.list_objects_v2(Bucket=self.ground.bucket, Prefix=f"{self.name}/claims/")
            found += [f"{row['Key']} is left" for row in rows.get("Contents", ())]
            rows = self.ground.s3.list_objects_v2(Bucket=self.ground.bucket, Prefix=f"{self.name}/grafts/")
            found += [f"{row['Key']} is left" for row in rows.get("Contents", ())]
        return found

    def uploads(self) -> list[str]:
        """Return the keys of unfinished multipart uploads."""
        said = self.ground.s3.list_multipart_uploads(Bucket=self.ground.bucket, Prefix=f"{self.name}/")
        return [row["Key"] for row in said.get("Uploads", ())]
