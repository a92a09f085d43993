"""Count the requests of a deployment."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from aws.recorder import recorder
from lamina.cli.main import main
from services import HANDLER, make_service

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from emulators import Emulator

FUNCTIONS = 10
ROLE = "arn:aws:iam::000000000000:role/service"


def test_requests_of_ten_functions(tmp_path: Path, ministack: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new layer for ten functions takes at most 100 requests to Lambda, and to find that nothing has changed at most 2 a function and 10."""
    monkeypatch.setenv("LAMINA_CACHE_DIR", str(tmp_path / "cache"))
    bucket = ministack.make_bucket(f"r-{tmp_path.name[-20:].strip('-_').replace('_', '-')}")
    service = make_service(tmp_path)
    service.functions = {f"counted{number}": "service.handlers.hello.lambda_handler" for number in range(FUNCTIONS)}

    def deploy(*words: str) -> int:
        path = service.write() / "pyproject.toml"
        (service.root / "service" / "handlers" / "hello.py").write_text(HANDLER)
        settings = f'[tool.lamina.publish]\nbucket = "{bucket}"\nlayer-name = "counted-{{layer}}"\n[tool.lamina.deploy]\nalias = "live"\n'
        path.write_text(path.read_text() + settings)
        record.clear()
        return main(["deploy", "--project", str(service.root), *words])

    with recorder(ministack.url) as record:
        monkeypatch.setenv("AWS_ENDPOINT_URL", record.url)
        codes = [deploy("--create", "--role", ROLE)]
        service.add("beta", "2.1", {"beta.py": "import alpha\n"})
        codes.append(deploy())
        # S3 has no such limit.
        bumped = [each.operation for each in record.asked if not each.operation.endswith(("Object", "Bucket"))]
        codes.append(deploy("--check"))
        unchanged = [each.operation for each in record.asked]

    assert [0, 0, 0] == codes
    assert len(bumped) <= 10 * FUNCTIONS, Counter(bumped)
    assert len(unchanged) <= 2 * FUNCTIONS + 10, Counter(unchanged)
    assert not any(each.startswith("ListFunctions") for each in (*bumped, *unchanged))
