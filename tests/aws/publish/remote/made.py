"""A service that one machine has published, and machines that have only its lock file and the bucket."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from typing import TYPE_CHECKING

from aws.fakes import Cloud
from lamina.archive.segment import AREA
from lamina.aws.destination.bucket import Bucket
from lamina.aws.destination.destination import Cancellation
from lamina.aws.destination.naming import Keys
from lamina.aws.publish.config import PublishConfig
from lamina.aws.publish.desired import desired_layers
from lamina.aws.publish.remote.build import build_service
from lamina.aws.publish.remote.segments import BucketStore
from lamina.aws.publish.remote_index import RemoteIndex, unwrap, wrap
from lamina.aws.publish.upload import compose, plan_upload, record, send
from lamina.core.frozen import replace
from lamina.core.reporter import Silent
from lamina.core.store import Store
from lamina.pipeline.artifacts import ArtifactProvider
from lamina.pipeline.context import BuildContext
from lamina.pipeline.plan import resolve
from lamina.project import config
from lamina.project.options import BuildOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aws.fakes import FakeObjects
    from lamina.archive.layer import Contribution
    from lamina.aws.destination.destination import Destination
    from lamina.core.values import Layer
    from lamina.pipeline.layers import LayerPlan
    from services import Service

__all__ = ["KEYS", "Published", "Reader", "publish"]

KEYS = Keys("lamina/")


@dataclasses.dataclass
class Published:
    """A service whose layer is in a bucket."""

    project: Path
    store: Store
    """The store of the machine that published the layer."""
    layer: Layer
    content: bytes
    """The layer's zip."""
    parts: tuple[str, ...]
    """The SHA-256 of each part of the layer."""
    cloud: Cloud

    def payload(self, name: str) -> bytes:
        """Return the payload of the index entry *name*."""
        payload = unwrap(name, self.cloud.objects["artifacts", KEYS.directory(name)].content)

        assert payload is not None
        return payload

    def objects(self) -> FakeObjects:
        """Return a copy of the bucket, which a test may damage."""
        copies = {key: dataclasses.replace(stored) for key, stored in self.cloud.objects.items()}
        return Cloud(objects=copies).connect().bucket("artifacts")


def publish(service: Service, directory: Path) -> Published:
    """Build *service*, upload its layer to a new bucket, and delete the build from the project."""
    cloud, store, project = Cloud(), Store(directory / "publisher"), service.write()
    bucket = Bucket(objects=cloud.connect().bucket("artifacts"), keys=KEYS)
    made = build_service(project, PublishConfig(), BuildOptions(), _connect, directory=directory, store=store)
    (job,) = made.jobs(desired_layers(made.builds, PublishConfig(bucket="artifacts")))
    plan = plan_upload(job, bucket, None, composed=False)
    send(job, bucket, plan, reporter=Silent(), stop=Cancellation())
    compose(bucket, job.source)
    (layer,) = made.builds[0].layers
    assert layer.sha256 is not None
    record(job, bucket, layer.sha256)
    published = Published(project, store, layer, layer.path.read_bytes(), job.source.parts, cloud)
    shutil.rmtree(project / ".lamina")
    return published


def _connect() -> Sequence[Destination]:
    raise NotImplementedError


class Reader:
    """A machine without wheels that builds from a bucket."""

    def __init__(self, project: Path, directory: Path, objects: FakeObjects) -> None:
        self.objects = objects
        self.store = Store(directory / "reader")
        self.destination = directory / "work" / "common.zip"
        bucket = Bucket(objects=objects, keys=KEYS)
        self.index = RemoteIndex(bucket)
        self.remote = BucketStore(self.index, bucket, store=self.store, scratch=directory / "imports")
        self.context = replace(BuildContext.open(project, BuildOptions(), store=self.store), remote=self.remote)
        self.target = resolve(self.context, config.load(project)).targets[0]
        self.artifacts = ArtifactProvider(self.context, self.target.service.target)

    @property
    def plan(self) -> LayerPlan:
        (plan,) = self.target.decided
        return plan

    def name(self, distribution: str) -> str:
        """Return the name of a distribution's segment."""
        (pin,) = (pin for pin in self.plan.selection.pins if pin.name == distribution)
        return self.plan.recipe.key(pin.sha256)

    def path(self, distribution: str) -> Path:
        """Return the path of a distribution's segment in the local store."""
        return self.store.entry(AREA, self.name(distribution), ".seg")

    def described(self) -> list[str]:
        """Return the distributions whose segments the bucket's index describes."""
        names = [pin.name for pin in self.plan.selection.pins]
        found = self.remote.segments([self.path(name) for name in names])
        return [name for name in names if self.path(name) in found]

    def contributions(self) -> list[Contribution]:
        return self.artifacts.contributions(self.plan)

    def compose(self, parts: Sequence[Contribution], destination: Path | None = None) -> Layer | None:
        return self.remote.compose(self.plan, self.plan.selection.pins, parts, destination or self.destination)

    def put(self, name: str, payload: bytes) -> None:
        """Write an index entry, overwriting an existing one."""
        content = wrap(name, payload)
        self.objects.put(KEYS.directory(name), content, sha256=hashlib.sha256(content).hexdigest(), absent=False)
