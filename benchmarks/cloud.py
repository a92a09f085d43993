"""An emulated AWS on this machine, reached over a slow line and reset for every row that deploys."""

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
"""The bandwidth in each direction, typical for an office or a home."""
BUCKET = "artifacts"
ROLE = "arn:aws:iam::000000000000:role/orders"


class Cloud:
    """
    An emulated AWS that is reset between rows, and a slow line to it.

    Use it as a context manager, which starts and stops both.
    """

    def __init__(self, installation: Installation) -> None:
        """Prepare to run the emulator in *installation*."""
        self._installation = installation
        self._stack = ExitStack()
        self._server = ExitStack()

    @classmethod
    def of(cls, bench: Bench) -> Cloud:
        """
        Start an emulator that stops at the end of *bench*; install it in the benchmark's store if necessary.

        Raises `LaminaError` if the emulator cannot be installed or started.
        """
        # No function is invoked, so any interpreter can be used.
        found = search(bench.target.python) or search(sys.version_info[:2], explicit=Path(sys.executable))
        if found is None:
            raise RuntimeError(f"`{sys.executable}` does not support the sandbox")
        installation = prepare(found, Store.open(bench.store), reporter=Silent())
        return bench.closing.enter_context(cls(installation))

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._server)
            self._sandbox = self._started()
            self._line = stack.enter_context(Throttle(self._port, bits_per_second=BITS_PER_SECOND))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def _port(self) -> int:
        return urlsplit(self._sandbox.url).port or 0

    def _started(self) -> Sandbox:
        return self._server.enter_context(Sandbox(self._installation))

    def renew(self) -> None:
        """Reset the emulated AWS, and create the bucket."""
        self._server.close()
        self._sandbox = self._started()
        self._line.upstream_port = self._port
        self.client("s3").create_bucket(Bucket=BUCKET)

    @property
    def nearby(self) -> dict[str, str]:
        """The environment variables for a preparation step, which uses a fast connection."""
        return self._sandbox.environment | {
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            # Connect to the emulator directly, even if a proxy is configured.
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    @property
    def far(self) -> dict[str, str]:
        """The environment variables for a measured tool, which uses the slow line."""
        return self.nearby | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._line.port}"}

    def client(self, service: str) -> Any:
        """Return a client for preparing and verifying, without the slow line."""
        return boto3.client(
            service,
            endpoint_url=self._sandbox.url,
            region_name=self._sandbox.region,
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 - a dummy that the emulator accepts
        )

    def measure(self, runner: Runner, command: Command) -> Sample:
        """Run *command*, which must have the variables of `far`, and return its sample with its traffic on the line."""
        before = self._line.reading()
        sample = runner(command).sample
        return replace(sample, traffic=self._line.reading().since(before))
