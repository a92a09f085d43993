"""The team's store around a build; most services have none, so that nothing of AWS is loaded before one is configured."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from lamina.core.errors import AwsError, ConfigError
from lamina.core.frozen import replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.aws.store.shared import SharedStore, TracedStore
    from lamina.pipeline.context import BuildContext
    from lamina.project.service import Service


@contextmanager
def team_store(context: BuildContext, service: Service) -> Iterator[BuildContext]:
    """
    Give the context to build with: what the team's store has was brought, and what the build makes is added on normal exit.

    A `lamina.pipeline.context.TeamStore`; *context* is given back as it is for a service without one, and offline.
    """
    if service.store is None or context.options.offline:
        yield context
        return
    from lamina.aws.store.shared import TracedStore

    store = TracedStore(context.store.root)
    remote = _pulled(context, service, store)
    if remote is None:
        yield context
        return
    yield replace(context, store=store)
    try:
        remote.push(store)
    except AwsError as error:
        context.reporter.warn(f"Nothing was added to the team's store: {error}", hint=error.hint)


def _pulled(context: BuildContext, service: Service, store: TracedStore) -> SharedStore | None:
    """Return the bucket's part after everything was brought, or ``None``, after a warning, if it cannot be reached."""
    from lamina.aws.api.session import Access
    from lamina.aws.store.shared import SharedStore, split_url

    bucket, prefix = split_url(service.store or "")
    name = f"{service.name}/{service.target.runtime}-{service.target.architecture}"
    try:
        remote = SharedStore(Access().connect().bucket(bucket), prefix, name=name, reporter=context.reporter)
        remote.pull(store)
    except (AwsError, ConfigError) as error:
        # boto3 missing, no credentials, no network: all of it only makes the build slower.
        context.reporter.warn(f"The team's store `{service.store}` is not used: {error}", hint=error.hint)
        return None
    return remote
