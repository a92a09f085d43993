"""Put the team's store behind a build's own, where one is configured; a build never fails for its sake."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from lamina.core.errors import AwsError, ConfigError
from lamina.core.frozen import replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.aws.store.team import SharedStore, TracedStore
    from lamina.pipeline.plan import BuildContext
    from lamina.project.service import Service

__all__ = ["shared"]


@contextmanager
def shared(session: BuildContext, service: Service) -> Iterator[BuildContext]:
    """Give the session to build with: what the bucket has was brought, and what the build makes is added on normal exit."""
    if service.store is None or session.options.offline:
        yield session
        return
    from lamina.aws.store.team import TracedStore  # noqa: PLC0415 - only for services with a bucket

    store = TracedStore(session.store.root)
    remote = _pulled(session, service, store)
    yield session if remote is None else replace(session, store=store)
    if remote is not None:
        try:
            remote.push(store)
        except AwsError as error:
            session.reporter.warn(f"Nothing was added to the team's store: {error}", hint=error.hint)


def _pulled(session: BuildContext, service: Service, store: TracedStore) -> SharedStore | None:
    """Return the bucket's part, of which everything was brought; nothing, after a warning, where it cannot be reached."""
    from lamina.aws.api.session import Access  # noqa: PLC0415
    from lamina.aws.store.team import SharedStore, split_url  # noqa: PLC0415

    bucket, prefix = split_url(service.store or "")
    name = f"{service.name}/{service.target.runtime}-{service.target.architecture}"
    try:
        objects = Access().connect().bucket(bucket)
        remote = SharedStore(objects, prefix, name=name, reporter=session.reporter)
        remote.pull(store)
    except (AwsError, ConfigError) as error:
        # boto3 missing, no credentials, no network: all of it only makes the build slower.
        session.reporter.warn(f"The team's store `{service.store}` is not used: {error}", hint=error.hint)
        return None
    return remote
