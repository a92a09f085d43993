"""An emulated AWS on this machine for the groups that deploy, empty for every row, and reached over a slow line."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import boto3

from benchmarks.throttle import Throttle
from lamina.bytecode.interpreter import search
from lamina.core.reporter import Silent
from lamina.core.store import Store
from lamina.local.sandbox.installation import prepare
from lamina.local.sandbox.server import Sandbox

if TYPE_CHECKING:
    from types import TracebackType

    from benchmarks.bench import Bench
    from benchmarks.values import Command, Runner, Sample
    from lamina.local.sandbox.installation import Installation

__all__ = ["BITS_PER_SECOND", "BUCKET", "ROLE", "Cloud"]

BITS_PER_SECOND = 20_000_000
"""A usual office's or home's line, in each direction."""
BUCKET = "artifacts"
ROLE = "arn:aws:iam::000000000000:role/orders"


class Cloud:
    """
    An AWS that is thrown away between rows, and a slow line to it.

    A context manager.
    """

    def __init__(self, installation: Installation) -> None:
        """Run from *installation*."""
        self._installation = installation
        self._stack = ExitStack()
        self._server = ExitStack()

    @classmethod
    def of(cls, bench: Bench) -> Cloud:
        """
        Return one that ends with *bench*, installed in the benchmark's own store if need be.

        Raises LaminaError where it cannot be installed or started.
        """
        # Nothing is invoked, so any interpreter will do.
        found = search(bench.target.python) or search(sys.version_info[:2], explicit=Path(sys.executable))
        if found is None:
            raise RuntimeError(f"`{sys.executable}` cannot run the sandbox")
        installation = prepare(found, Store.open(bench.store), reporter=Silent())
        return bench.closing.enter_context(cls(installation))

    def __enter__(self) -> Self:
        """Start both."""
        with ExitStack() as stack:
            stack.enter_context(self._server)
            self._sandbox = self._started()
            self._line = stack.enter_context(Throttle(self._port, bits_per_second=BITS_PER_SECOND))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End both."""
        self._stack.close()

    @property
    def _port(self) -> int:
        return urlsplit(self._sandbox.url).port or 0

    def _started(self) -> Sandbox:
        return self._server.enter_context(Sandbox(self._installation))

    def renew(self) -> None:
        """Forget everything, and make the bucket."""
        self._server.close()
        self._sandbox = self._started()
        self._line.upstream_port = self._port
        self.client("s3").create_bucket(Bucket=BUCKET)

    @property
    def nearby(self) -> dict[str, str]:
        """The variables for a tool that prepares something."""
        return self._sandbox.environment | {
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            # Whatever proxy leads to the rest of the world.
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    @property
    def far(self) -> dict[str, str]:
        """The variables for a tool that is measured: everything that it says passes the slow line."""
        return self.nearby | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._line.port}"}

    def client(self, service: str) -> Any:
        """Return a client for looking behind the tools' backs."""
        return boto3.client(
            service,
            endpoint_url=self._sandbox.url,
            region_name=self._sandbox.region,
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - it opens nothing
        )

    def measure(self, runner: Runner, command: Command) -> Sample:
        """Run *command*, which is to have the variables of `far`, and count what passes the line."""
        before = self._line.reading()
        sample = runner(command).sample
        return replace(sample, traffic=self._line.reading().since(before))
