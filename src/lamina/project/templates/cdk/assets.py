"""Find the directory of the repository that a CDK asset was copied from, by comparing contents."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from lamina.core.errors import TemplateError
from lamina.project.templates.files import JSON_BYTES
from lamina.project.templates.settings import Unknown, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lamina.project.templates.cloudformation.reader import Source
    from lamina.project.templates.files import TemplateFiles

_MOST_FILES = 20_000
_DEEPEST = 8

Fingerprint = tuple[int, int]
"""The size and the CRC-32 of a file, which zip archives store for their members."""


class AssetSources:
    """The source directories of assets in one ``cdk.out``."""

    def __init__(self, output: str, files: TemplateFiles) -> None:
        """Compare the assets in the directory *output* with the other files of the project."""
        self._output = output
        self._files = files
        self._found: dict[tuple[str, str], Source] = {}
        self._assets: dict[str, Mapping[str, Fingerprint | None]] = {}
        self._fingerprints: dict[str, Fingerprint | None] = {}

    def find(self, asset: str, directory: str, handler: str | Unknown) -> Source:
        """
        Return the directory that contains the module of *handler* and most other files of *asset*.

        *asset* is relative to *directory* or absolute, as the template writes it.
        """
        if isinstance(handler, Unknown):
            return Unknown(reason=f"the handler is unknown: {handler.reason}")
        path = self.located(asset, directory)
        if path is None:
            return Unknown(reason=f"the asset `{shown(asset)}` does not exist; run `cdk synth` again")
        if self._files.is_directory(path) and not f"{path}/".startswith(f"{self._output}/"):
            # Without staging, the asset is the source directory itself.
            return path
        key = (path, handler.rpartition(".")[0])
        if key not in self._found:
            self._found[key] = self._match(path, key[1])
        return self._found[key]

    def located(self, asset: str, directory: str) -> str | None:
        """Return the path of *asset*, relative to *directory* or absolute as a template writes it; ``None`` if it does not exist."""
        # An absolute path may have been written on another machine.
        name = asset.replace("\\", "/").rstrip("/").rpartition("/")[2]
        written = (self._files.join(directory, asset), self._files.join(self._output, name))
        paths = [each for path in written if path is not None for each in (path, f"{path}.zip")]
        return next((path for path in paths if self._files.is_directory(path) or self._files.is_file(path)), None)

    def _match(self, asset: str, module: str) -> Source:
        stem = module.replace(".", "/").strip("/")
        member = next((name for name in (f"{stem}.py", f"{stem}/__init__.py") if self._has(asset, name)), None)
        if not stem or member is None:
            return Unknown(reason=f"the asset `{shown(asset)}` has no module `{shown(module)}`")
        expected = self._member(asset, member)
        candidates = [
            path.removesuffix(member).rstrip("/") or "."
            for path in self._named(member.rpartition("/")[2])
            if f"/{path}".endswith(f"/{member}") and self._fingerprint(path) == expected
        ]
        if not candidates:
            return Unknown(
                reason=f"no directory of the project has the same `{shown(member)}` as the asset; run `cdk synth` again"
            )
        return candidates[0] if len(candidates) == 1 else self._best(asset, candidates)

    def _best(self, asset: str, candidates: list[str]) -> Source:
        """Return the candidate that agrees with most files of the asset."""
        agreeing = {directory: frozenset(self._agreeing(asset, directory)) for directory in candidates[:100]}
        most = max(map(len, agreeing.values()))
        best = sorted((each for each in agreeing if len(agreeing[each]) == most), key=lambda each: (len(each), each))
        if len({frozenset(self._below(each)) for each in best}) == 1:
            return best[0]
        listed = ", ".join(f"`{shown(each)}`" for each in best[:5])
        return Unknown(reason=f"several directories contain the asset's files: {listed}")

    def _agreeing(self, asset: str, directory: str) -> Iterator[str]:
        content = self._content(asset)
        prefix = "" if directory == "." else f"{directory}/"
        for path in self._paths():
            name = path.removeprefix(prefix)
            if path.startswith(prefix) and name in content and self._fingerprint(path) == self._member(asset, name):
                yield name

    def _below(self, directory: str) -> Iterator[tuple[str, Fingerprint | None]]:
        prefix = "" if directory == "." else f"{directory}/"
        for path in self._paths():
            if path.startswith(prefix):
                yield path.removeprefix(prefix), self._fingerprint(path)

    def _has(self, asset: str, name: str) -> bool:
        # A directory is not listed for this, because it may contain thousands of installed files.
        if self._files.is_directory(asset):
            return self._files.is_file(f"{asset}/{name}")
        return name in self._content(asset)

    def _member(self, asset: str, name: str) -> Fingerprint | None:
        if self._files.is_directory(asset):
            return self._fingerprint(f"{asset}/{name}")
        return self._content(asset).get(name)

    def _content(self, asset: str) -> Mapping[str, Fingerprint | None]:
        """Return the files in *asset*, with their fingerprints if it is a zip."""
        if asset not in self._assets:
            directory = self._files.is_directory(asset)
            self._assets[asset] = dict.fromkeys(self._listed(asset)) if directory else self._zipped(asset)
        return self._assets[asset]

    def _listed(self, asset: str) -> Iterator[str]:
        waiting, count = [("", 0)], 0
        while waiting:
            parent, depth = waiting.pop()
            for name in self._files.names(f"{asset}/{parent}".rstrip("/")):
                path = f"{parent}/{name}" if parent else name
                count += 1
                if count > _MOST_FILES:
                    return
                if not name.endswith(".py") and depth < _DEEPEST and self._files.is_directory(f"{asset}/{path}"):
                    waiting.append((path, depth + 1))
                else:
                    yield path

    def _zipped(self, asset: str) -> Mapping[str, Fingerprint | None]:
        import io
        import struct
        import zipfile

        try:
            with zipfile.ZipFile(io.BytesIO(self._files.read(asset, limit=JSON_BYTES))) as archive:
                return {member.filename: (member.file_size, member.CRC) for member in archive.infolist()}
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError, struct.error, TemplateError):
            return {}

    def _fingerprint(self, path: str) -> Fingerprint | None:
        if path not in self._fingerprints:
            try:
                content = self._files.read(path)
                self._fingerprints[path] = (len(content), zlib.crc32(content))
            except TemplateError:
                self._fingerprints[path] = None
        return self._fingerprints[path]

    def _named(self, name: str) -> list[str]:
        return [path for path in self._files.find(name) if not path.startswith(f"{self._output}/")]

    def _paths(self) -> Iterator[str]:
        return (path for path in self._files.paths if not path.startswith(f"{self._output}/"))
