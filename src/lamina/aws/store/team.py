"""Use the team store in a build. AWS modules are imported only if the service configures a team store."""

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


_REGION_HINT = "set the region of the bucket: `export AWS_REGION=eu-west-1`, or `region` in the AWS profile"


@contextmanager
def team_store(context: BuildContext, service: Service) -> Iterator[BuildContext]:
    """
    Download the service's files from the team store, yield the context to build with, and upload new files on normal exit.

    Implements `lamina.pipeline.context.TeamStore`. Yield *context* unchanged if the service has no team store, if the team store cannot
    be used, or with ``--offline``. If AWS or the configuration causes an error, only a warning is shown.
    """
    if service.store is None or context.options.offline:
        yield context
        return
    from lamina.aws.store.shared import TracedStore

    store = TracedStore(context.store.root, note=context.reporter.note)
    remote = _pulled(context, service, store)
    if remote is None:
        yield context
        return
    yield replace(context, store=store)
    try:
        remote.push(store)
    except AwsError as error:
        context.reporter.warn(f"the new files were not added to the team store: {error}", hint=error.hint)


def _in_one_line(hint: str | None) -> str | None:
    """Return *hint*, which may consist of two steps, as one."""
    return None if hint is None else "; then ".join(hint.splitlines())


def _pulled(context: BuildContext, service: Service, store: TracedStore) -> SharedStore | None:
    """Download the listed files that *store* lacks, and return the team store. If that fails, warn and return ``None``."""
    from lamina.aws.api.session import Access
    from lamina.aws.store.shared import SharedStore, split_url

    bucket, prefix = split_url(service.store or "")
    name = f"{service.name}/{service.target.runtime}-{service.target.architecture}"
    try:
        remote = SharedStore(
            Access(region_hint=_REGION_HINT).connect().bucket(bucket), prefix, name=name, reporter=context.reporter
        )
        remote.pull(store)
    except (AwsError, ConfigError) as error:
        # Without boto3, credentials or network, the build only becomes slower.
        context.reporter.warn(
            f"building without the team store `{service.store}`: {error}", hint=_in_one_line(error.hint)
        )
        return None
    return remote
