"""Create small services for tests of the whole pipeline: a project, its wheels, and a lock file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wheels import make_wheel, sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HANDLER = "def lambda_handler(event, context):\n    return event\n"


@dataclass
class Service:
    """A project on disk that a test changes step by step. `write` updates the files."""

    root: Path
    wheels: Path
    """The directory of the wheels."""
    base_url: str | None = None
    """The URL of the wheels. If it is None, the lock file contains paths."""
    locked: dict[str, Path] = field(default_factory=dict)
    settings: dict[str, str] = field(
        default_factory=lambda: {
            "runtime": '"python3.13"',
            "architecture": '"x86_64"',
            "source": '["service"]',
            "bytecode": '"none"',
        }
    )
    functions: dict[str, str] = field(default_factory=lambda: {"hello": "service.handlers.hello.lambda_handler"})
    sources: dict[str, str] = field(default_factory=dict)
    """The `source` of each function that has its own, as TOML."""
    more: dict[str, str] = field(default_factory=dict)
    """Further settings of a function, as TOML."""
    markers: dict[str, str] = field(default_factory=dict)
    comment: str = ""
    requires_python: str = ">=3.12"

    def add(
        self, name: str, version: str, files: Mapping[str, bytes | str] | None = None, *, tag: str = "py3-none-any"
    ) -> Path:
        """Create a wheel and add it to the lock file, replacing another version."""
        path = make_wheel(self.wheels, name, version, files, tag=tag)
        self.locked[name] = path
        return path

    def write(self) -> Path:
        """Write the configuration, the lock file and the sources, and return the project's directory."""
        self.root.mkdir(parents=True, exist_ok=True)
        handlers = self.root / "service" / "handlers"
        handlers.mkdir(parents=True, exist_ok=True)
        for path in (handlers.parent / "__init__.py", handlers / "__init__.py"):
            path.touch()
        if not (handlers / "hello.py").exists():
            (handlers / "hello.py").write_text(HANDLER)
        (self.root / "pyproject.toml").write_text(self._pyproject())
        (self.root / "pylock.toml").write_text(self._pylock())
        return self.root

    def _pyproject(self) -> str:
        lines = ["[project]", 'name = "greeter"', 'version = "1"', f'requires-python = "{self.requires_python}"', ""]
        lines += ["[tool.lamina]", *(f"{key} = {value}" for key, value in self.settings.items())]
        lines += ["[tool.lamina.functions]", *map(self._function, self.functions)]
        return "\n".join(lines) + "\n"

    def _function(self, name: str) -> str:
        handler = f'"{self.functions[name]}"'
        settings = [f"handler = {handler}"]
        settings += [f"source = {self.sources[name]}"] if name in self.sources else []
        settings += [self.more[name]] if name in self.more else []
        return f"{name} = {handler if len(settings) == 1 else '{ ' + ', '.join(settings) + ' }'}"

    def _pylock(self) -> str:
        lines = [f"# {self.comment}" if self.comment else "", 'lock-version = "1.0"', 'created-by = "tests"', ""]
        for name, path in sorted(self.locked.items()):
            where = f'url = "{self.base_url}/{path.name}"' if self.base_url else f'path = "{path.as_posix()}"'
            lines += ["[[packages]]", f'name = "{name}"', f'version = "{path.name.split("-")[1]}"']
            lines += [f'marker = "{self.markers[name]}"'] if name in self.markers else []
            lines += [
                "[[packages.wheels]]",
                f'name = "{path.name}"',
                where,
                f"size = {path.stat().st_size}",
                f'hashes = {{sha256 = "{sha256(path)}"}}',
                "",
            ]
        return "\n".join(lines)


def make_service(directory: Path, *, base_url: str | None = None) -> Service:
    """Return a service in *directory* with two locked distributions. Call `write` to create its files."""
    service = Service(root=directory / "greeter", wheels=directory / "wheels", base_url=base_url)
    service.wheels.mkdir(parents=True, exist_ok=True)
    service.add("alpha", "1.0", {"alpha/__init__.py": "VALUE = 1\n" * 200, "alpha/data.bin": bytes(range(256)) * 40})
    service.add("beta", "2.0", {"beta.py": "import alpha\n"})
    return service
