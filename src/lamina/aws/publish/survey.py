"""Look at what AWS holds, and plan every layer in every account and region. Only reads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Protocol, TypeVar

from lamina.aws.api.cancellation import Cancellation
from lamina.aws.api.functions import Storage
from lamina.aws.publish.bucket_policy import check
from lamina.aws.publish.manifest import decode
from lamina.aws.publish.naming import Keys, digest_in, fill
from lamina.aws.publish.part_copy import plan_part_copies
from lamina.aws.publish.plan import LayerState, matching, plan
from lamina.aws.publish.remote_index import RemoteIndex, wrap
from lamina.aws.publish.upload import is_composed, stored_parts
from lamina.aws.publish.zip_source import LayerZip
from lamina.core.errors import AwsError, StoppedError, WrongRegionError
from lamina.core.target import quotas

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from concurrent.futures import Future

    from lamina.aws.api.protocols import Layers, LayerVersion, Objects, PublishedVersion, Services
    from lamina.aws.publish.desired import DesiredLayer
    from lamina.aws.publish.manifest import Record
    from lamina.aws.publish.part_copy import PartCopy
    from lamina.aws.publish.plan import Action

__all__ = ["Destination", "LayerJob", "LayerStep", "candidates", "each_in_its_place", "everywhere", "survey"]


_Result = TypeVar("_Result")


class _HasDestination(Protocol):
    """Something to be done in one place."""

    @property
    def place(self) -> Destination: ...


_Item = TypeVar("_Item", bound=_HasDestination)


class LayerJob:
    """One wanted layer, whose zip is hashed at most once, and only if some place lacks the layer."""

    def __init__(
        self,
        wanted: DesiredLayer,
        source: LayerZip | None = None,
        *,
        notes: Callable[[], Mapping[str, bytes]] = dict[str, bytes],
    ) -> None:
        """
        Wait until the zip is asked for, if it is not that of *source*.

        *notes* returns what the bucket's shelf is to keep beside the layer's own directories, and is called only where that matters.
        """
        self.wanted = wanted
        self._notes = notes
        self._lock = Lock()
        self._source = source

    @property
    def source(self) -> LayerZip:
        """The zip, checked to be what was built."""
        with self._lock:
            if self._source is None:
                self._source = LayerZip(self.wanted)
            return self._source

    def shelve(self, objects: Objects, keys: Keys, *, known: Collection[str]) -> int:
        """
        Add to the bucket's shelf what machines without the wheels have to know of the layer, but for what is *known* there.

        Return how many bytes were sent.
        """
        shelf = RemoteIndex(objects, keys, refused=self.source.refused)
        return shelf.put(self._shelved, known=self.source.known_in(objects).union(known))

    def shelf_bytes(self, objects: Objects, known: Collection[str]) -> int:
        """Return how many bytes the bucket's shelf is to get at most, without what is *known* there."""
        there = self.source.known_in(objects).union(known) - self.source.refused
        return sum(len(content) for name, content in self._shelved.items() if name not in there)

    def shelf_names(self) -> tuple[str, ...]:
        """Return the names of everything that the shelf is to keep for the layer's sake."""
        return tuple(sorted({*self._notes(), *self.source.shelf_names()}))

    @cached_property
    def _shelved(self) -> dict[str, bytes]:
        payloads = {**self._notes(), **self.source.shelved()}
        return {name: wrap(name, payload) for name, payload in payloads.items()}


class Destination:
    """One account in one region, and the bucket for it."""

    def __init__(self, services: Services, *, bucket: str | None, prefix: str) -> None:
        """Name the bucket by the template *bucket*."""
        self.services = services
        self.keys = Keys(prefix)
        self.stop = Cancellation()
        self._template = bucket

    @cached_property
    def objects(self) -> Objects | None:
        """
        The bucket, if one is configured.

        Raises MissingBucketError, and WrongRegionError for one whose objects Lambda would not take.
        """
        if self._template is None:
            return None
        account = self.services.account
        objects = self.services.bucket(fill(self._template, account))
        region = objects.region()
        if region is not None and region != account.region:
            raise WrongRegionError(
                f"Bucket `{objects.bucket}` is in {region}, and the layer is to be in {account.region}",
                hint="Lambda takes code from buckets of its own region; name one for each: "
                'bucket = "…-{region}" in `[tool.lamina.publish]`',
            )
        return objects


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerStep:
    """What is to happen to one layer in one place."""

    job: LayerJob
    place: Destination
    action: Action

    @property
    def wanted(self) -> DesiredLayer:
        """The layer."""
        return self.job.wanted


def survey(jobs: Sequence[LayerJob], places: Sequence[Destination]) -> tuple[LayerStep, ...]:
    """Return the plan for all *jobs* in all *places*, in that order; raises AwsError and its kinds."""

    def plan_place(place: Destination) -> list[LayerStep]:
        return [LayerStep(job=job, place=place, action=_plan(job, place)) for job in jobs]

    return tuple(step for steps in everywhere(plan_place, places) for step in steps)


def everywhere(work: Callable[[Destination], _Result], places: Sequence[Destination]) -> list[_Result]:
    """
    Do *work* in all *places* at once and to the end, whatever happens in one of them.

    Raises the only failure, or AwsError telling all of them. When interrupted it has all places stop, and waits for that: what they
    then say is more than that it was interrupted.
    """
    pool = ThreadPoolExecutor(max(1, len(places)), "lamina-place")
    try:
        futures = [pool.submit(work, place) for place in places]
        try:
            wait(futures)
        except KeyboardInterrupt:
            for place in places:
                place.stop.wish()
            wait(futures)
            _raise_failures(places, futures)
            raise
    finally:
        pool.shutdown(wait=False)
    _raise_failures(places, futures)
    return [future.result() for future in futures]


def each_in_its_place(work: Callable[[_Item], _Result], items: Sequence[_Item]) -> tuple[_Result, ...]:
    """
    Do *work* on *items* in all their places at once, in one place on one after the other, and return the results in the order of *items*.

    Raises as `everywhere` does.
    """
    places = list(dict.fromkeys(item.place for item in items))

    def work_there(place: Destination) -> list[tuple[int, _Result]]:
        return [(number, work(item)) for number, item in enumerate(items) if item.place is place]

    done = dict(pair for pairs in everywhere(work_there, places) for pair in pairs)
    return tuple(done[number] for number in range(len(items)))


def _raise_failures(places: Sequence[Destination], futures: Sequence[Future[_Result]]) -> None:
    told = [(place, error) for place, future in zip(places, futures, strict=True) if (error := future.exception())]
    ours = [error for _, error in told if isinstance(error, AwsError | StoppedError)]
    if len(told) > 1 and len(ours) == len(told):
        kind = StoppedError if all(isinstance(error, StoppedError) for error in ours) else AwsError
        lines = [f"{place.services.account}: {error}" for place, error in told]
        raise kind("\n  ".join((f"{len(told)} of {len(places)} places failed", *lines)), hint=ours[0].hint)
    for _, error in told:
        raise error


def candidates(layers: Layers, wanted: DesiredLayer, versions: Sequence[LayerVersion]) -> tuple[PublishedVersion, ...]:
    """Return what those of *versions* really are that say they are the *wanted* layer, oldest first."""
    numbers = [each.number for each in reversed(versions) if digest_in(each.description) == wanted.layer.digest]
    found = (layers.version(wanted.name, number) for number in numbers)
    return tuple(each for each in found if each is not None)


def _plan(job: LayerJob, place: Destination) -> Action:
    wanted, services = job.wanted, place.services
    parameter = _parameter(wanted, services)
    versions = tuple(services.layers.versions(wanted.name))
    found = candidates(services.layers, wanted, versions)
    kept = matching(wanted.layer.code_sha256, found)
    if kept is not None:
        shared = bool(wanted.config.share_with)
        state = LayerState(
            versions=versions,
            candidates=found,
            granted=services.layers.granted(wanted.name, kept.number) if shared else frozenset(),
            parameter=services.parameters.get(parameter) if parameter is not None else None,
        )
        return plan(wanted, state, parameter=parameter)
    if place.objects is None:
        return plan(wanted, LayerState(versions=versions, candidates=found), parameter=parameter)
    return plan(wanted, _state(place.objects, job, place, versions, found), parts=job.source.parts, parameter=parameter)


def _state(
    objects: Objects,
    job: LayerJob,
    place: Destination,
    versions: tuple[LayerVersion, ...],
    found: tuple[PublishedVersion, ...],
) -> LayerState:
    """Return what the bucket has of a layer that is to be published."""
    wanted = job.wanted
    if wanted.config.storage is Storage.REFERENCE:
        state, account = objects.state(), place.services.account
        check(state, bucket=objects.bucket, prefix=wanted.config.prefix, account=account)
    source, keys = job.source, place.keys
    composed = is_composed(objects, keys.layer(wanted.layer.digest), source)
    record = _record(objects, keys, versions)
    stored: frozenset[str] = frozenset()
    made: Mapping[str, PartCopy] = {}
    if not composed:
        stored = stored_parts(objects, keys, source)
        least = quotas().multipart_part_bytes
        made = plan_part_copies(objects, keys, source, frozenset(source.parts) - stored, record, least=least)
    return LayerState(
        versions=versions,
        candidates=found,
        record=record,
        stored=stored,
        copies=made,
        composed=composed,
        shelf_bytes=job.shelf_bytes(objects, record.directories if record is not None else ()),
    )


def _record(objects: Objects, keys: Keys, versions: Sequence[LayerVersion]) -> Record | None:
    digest = next((found for each in versions if (found := digest_in(each.description)) is not None), None)
    if digest is None:
        return None
    content = objects.get(keys.record(digest))
    record = None if content is None else decode(content)
    return record if record is not None and record.digest == digest else None


def _parameter(wanted: DesiredLayer, services: Services) -> str | None:
    prefix = wanted.config.ssm_prefix
    if prefix is None:
        return None
    return f"{fill(prefix, services.account, service=wanted.service)}/{wanted.label}"
