"""Download the URLs in argv[2:] to the directory argv[1] over 16 connections, as a lower bound for every build that downloads."""

from __future__ import annotations

import http.client
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECTIONS = 16
CHUNK = 1 << 20


def fetch(directory: Path, urls: Sequence[str]) -> None:
    parts = urlsplit(urls[0])
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    for url in urls:
        path = urlsplit(url).path
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise SystemExit(f"{url}: {response.status}")
        with (directory / path.rsplit("/", 1)[-1]).open("wb", buffering=0) as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
    connection.close()


def main(directory: Path, urls: Sequence[str]) -> None:
    shares = [urls[first::CONNECTIONS] for first in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(lambda share: fetch(directory, share), filter(None, shares)))


main(Path(sys.argv[1]), sys.argv[2:])
