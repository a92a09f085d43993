"""Publishing over a bad line: whatever fails, and whether it was done or not, there is one version and it is the layer."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from aws.faults import faulty
from aws.made import PART, make_layer, make_wanted
from lamina.aws.apply import apply
from lamina.aws.config import PublishConfig
from lamina.aws.interfaces import Grant
from lamina.aws.places import connect
from lamina.aws.survey import Job, Place, survey

if TYPE_CHECKING:
    from pathlib import Path

    from emulators import Emulator

OPERATIONS = (
    "PutObject",
    "CreateMultipartUpload",
    "UploadPartCopy",
    "UploadPart",
    "CompleteMultipartUpload",
    "PublishLayerVersion",
    "AddLayerVersionPermission",
    "PutParameter",
)


@pytest.mark.parametrize("kind", ["503", "unanswered"])
def test_one_fault_at_each_call_that_changes_something(
    tmp_path: Path, ministack: Emulator, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The SDK repeats the call, and what had been done already is taken for what it is."""
    with faulty(ministack.url) as (url, fault):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        name = ministack.make_bucket(f"t{uuid.uuid4().hex[:12]}")
        config = PublishConfig(bucket=name, share_with=(Grant(principal="123456789012"),), ssm_prefix=f"/{name}")
        (connected,) = connect(config)
        for operation in OPERATIONS:
            place = Place(connected.services, bucket=name, prefix=f"{operation}/")
            layer = make_layer(tmp_path / operation, {"big": PART, "small": 9})
            wanted = make_wanted(layer, config, service=f"{name}-{operation}")
            fault.operation, fault.kind, fault.hits = operation, kind, 0
            (published,) = apply(survey([Job(wanted)], [place]))
            (version,) = ministack.versions(wanted.name)

            assert fault.hits == 1, operation
            assert version["LayerVersionArn"] == published.version.arn
            assert published.version.code_sha256 == wanted.layer.code_sha256
            assert not any(step.action.is_change for step in survey([Job(wanted)], [place])), operation
