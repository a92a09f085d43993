"""Lambda functions in memory. Every call checks the size limit, as Lambda does, and can be made to fail."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
import zipfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from lamina.aws.api.functions import (
    LATEST,
    PUBLISHED,
    AliasState,
    CodeStorage,
    FunctionState,
    NewFunction,
    S3Code,
    Settings,
    Storage,
    Zip,
)
from lamina.core.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lamina.aws.api.s3 import Objects

_Result = TypeVar("_Result")


def code(content: str, size: int = 10, *, linked: bool = False) -> bytes:
    """Return a zip with one file of *size* bytes that begin with *content*. With *linked*, add a symbolic link, so that lamina does not read the zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("app.py"), content.ljust(size))
        if linked:
            link = zipfile.ZipInfo("link.py")
            link.create_system, link.external_attr = 3, 0o120777 << 16
            archive.writestr(link, "")
    return buffer.getvalue()


def digest(content: bytes) -> str:
    """Return the SHA-256 of *content* in base64, as Lambda reports it."""
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def unzipped(content: bytes) -> int:
    """Return the total unzipped size of the zip *content* in bytes, as Lambda counts it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return sum(each.file_size for each in archive.infolist())


@dataclass
class Held:
    """The state of one function."""

    content: bytes
    state: FunctionState
    busy_polls: int = 0
    storage: CodeStorage = field(default_factory=CodeStorage)
    pending_versions: bool = False
    """Whether published versions stay busy, as with SnapStart until the snapshot is taken."""
    versions: dict[str, FunctionState] = field(default_factory=dict)
    aliases: dict[str, AliasState] = field(default_factory=dict)


class FakeFunctions:
    """`Functions` in memory, as strict as Lambda about sizes, revisions and changes in progress."""

    def __init__(self, *, limit: int = 262_144_000, layers: dict[str, int] | None = None) -> None:
        """*layers* maps ARNs of layer versions to their unzipped sizes in bytes."""
        self.limit = limit
        self.layer_bytes = layers or {}
        self.functions: dict[str, Held] = {}
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None
        self.repeated = ""
        """The operation whose replies are always lost, so that the SDK repeats the request."""
        self.objects: Objects | None = None
        """The bucket from which code is read."""
        self.clock = 1_700_000_000.0
        """The time in seconds since 1970."""
        self._revision = 0
        self._lock = threading.RLock()

    def hold(self, name: str, content: bytes, settings: Settings, *, alias: str | None = None) -> None:
        """Create a function. With *alias*, also create a version and an alias that points to it."""
        state = FunctionState(
            name=name,
            version=LATEST,
            revision=self._next(),
            code_sha256=digest(content),
            code_bytes=len(content),
            settings=settings,
            architecture="x86_64",
        )
        held = self.functions[name] = Held(content=content, state=state)
        if alias is not None:
            held.versions["1"] = replace(state, version="1")
            held.aliases[alias] = AliasState(name=alias, version="1", revision=self._next())

    def serving(self, name: str, alias: str | None = None) -> tuple[str, Settings]:
        """Return the code and settings that a caller reaches."""
        held = self.functions[name]
        state = held.state
        if alias is not None and held.aliases[alias].version != LATEST:
            state = held.versions[held.aliases[alias].version]
        return state.code_sha256, state.settings

    def snapshot(self) -> dict[str, tuple[str, Settings, dict[str, tuple[str, Settings]]]]:
        """Return the code and settings of all functions and aliases."""
        return {
            name: (*self.serving(name), {alias: self.serving(name, alias) for alias in held.aliases})
            for name, held in self.functions.items()
        }

    def now(self) -> float:
        return self.clock

    def get(self, name: str, version: str = LATEST) -> FunctionState | None:
        def effect() -> FunctionState | None:
            held = self.functions.get(name)
            if held is None:
                return None
            number = held.aliases[version].version if version in held.aliases else version
            if number != LATEST:
                found = held.versions.get(number)
                unfinished = "its state is `Pending`" if held.pending_versions else ""
                return None if found is None else replace(found, busy=held.pending_versions, unfinished=unfinished)
            held.busy_polls = max(0, held.busy_polls - 1)
            return replace(held.state, busy=held.busy_polls > 0)

        return self._do("GetFunction", effect)

    def download(self, name: str, destination: Path) -> CodeStorage:
        self._do("GetFunction", lambda: destination.write_bytes(self.functions[name].content))
        return self.functions[name].storage

    def update_code(
        self, name: str, code: Zip | S3Code, *, architecture: str, revision: str, kms_key: str | None = None
    ) -> FunctionState | None:
        def effect() -> FunctionState | None:
            held = self._idle(name)
            if held.state.revision != revision:
                return None
            content = self._content(code)
            self._check(content, held.state.settings)
            held.content = content
            held.storage = CodeStorage(
                storage=code.storage if isinstance(code, S3Code) else Storage.COPY, kms_key=kms_key
            )
            return self._change(
                held,
                replace(held.state, code_sha256=digest(content), code_bytes=len(content), architecture=architecture),
            )

        return self._do("UpdateFunctionCode", effect)

    def update_settings(self, name: str, settings: Settings, *, revision: str) -> FunctionState | None:
        def effect() -> FunctionState | None:
            held = self._idle(name)
            if held.state.revision != revision:
                return None
            self._check(held.content, settings)
            return self._change(held, replace(held.state, settings=settings))

        return self._do("UpdateFunctionConfiguration", effect)

    def publish_version(
        self, name: str, *, code_sha256: str, revision: str, to: str | None = None
    ) -> FunctionState | None:
        def effect() -> FunctionState | None:
            held = self._idle(name)
            if (held.state.code_sha256, held.state.revision) != (code_sha256, revision):
                return None
            if to == PUBLISHED:
                held.versions[PUBLISHED] = replace(held.state, version=PUBLISHED, revision=self._next())
                return replace(held.versions[PUBLISHED], busy=True)
            numbers = [each for each in held.versions if each != PUBLISHED]
            newest = str(len(numbers))
            if newest in held.versions and self._same(held.versions[newest], held.state):
                return replace(held.versions[newest], busy=held.pending_versions)
            number = str(len(numbers) + 1)
            held.versions[number] = replace(held.state, version=number, revision=self._next())
            return replace(held.versions[number], busy=True)

        return self._do("PublishVersion", effect)

    def alias(self, name: str, alias: str) -> AliasState | None:
        return self._do("GetAlias", lambda: self._aliases(name).get(alias))

    def _aliases(self, name: str) -> dict[str, AliasState]:
        return self.functions[name].aliases if name in self.functions else {}

    def create_alias(self, name: str, alias: str, version: str, *, description: str = "") -> AliasState | None:
        def effect() -> AliasState | None:
            if name not in self.functions:
                raise AwsError(f"Function not found: {name}")
            aliases = self.functions[name].aliases
            if alias in aliases:
                return None
            aliases[alias] = AliasState(name=alias, version=version, revision=self._next(), description=description)
            return aliases[alias]

        return self._do("CreateAlias", effect)

    def move_alias(
        self,
        name: str,
        alias: str,
        version: str,
        *,
        revision: str,
        description: str | None = None,
        repeats: bool = True,
    ) -> AliasState | None:
        def effect() -> AliasState | None:
            aliases = self._aliases(name)
            if alias not in aliases:
                raise AwsError(f"Cannot find alias `{alias}`")
            if aliases[alias].revision != revision:
                return None
            text = aliases[alias].description if description is None else description
            aliases[alias] = AliasState(name=alias, version=version, revision=self._next(), description=text)
            return aliases[alias]

        return self._do("UpdateAlias", effect)

    def delete_alias(self, name: str, alias: str) -> None:
        self._do("DeleteAlias", lambda: self._aliases(name).pop(alias, None))

    def create(self, function: NewFunction) -> bool:
        def effect() -> bool:
            if function.name in self.functions:
                return False
            content = self._content(function.code)
            self._check(content, function.settings)
            self.hold(function.name, content, function.settings)
            self.functions[function.name].busy_polls = 2
            return True

        return self._do("CreateFunction", effect)

    def delete(self, name: str) -> None:
        self._do("DeleteFunction", lambda: self.functions.pop(name, None))

    def _do(self, operation: str, effect: Callable[[], _Result]) -> _Result:
        with self._lock:
            self.calls.append(operation)
            self.before(operation)
            result = effect()
            if operation == self.repeated:
                for held in self.functions.values():
                    held.busy_polls = 0
                result = effect()
            self.after(operation)
            return result

    def _content(self, code: Zip | S3Code) -> bytes:
        if isinstance(code, Zip):
            return code.content
        content = (
            self.objects.get(code.key) if self.objects is not None and self.objects.bucket == code.bucket else None
        )
        if content is None:
            raise AwsError("The specified key does not exist")
        return content

    def _idle(self, name: str) -> Held:
        held = self.functions[name]
        if held.busy_polls:
            raise AwsError(f"Function `{name}` is being changed")
        return held

    def _change(self, held: Held, state: FunctionState) -> FunctionState:
        held.state = replace(state, revision=self._next())
        held.busy_polls = 2
        return replace(held.state, busy=True)

    def _check(self, content: bytes, settings: Settings) -> None:
        if unzipped(content) + sum(self.layer_bytes[arn] for arn in settings.layers) > self.limit:
            raise AwsError(f"Unzipped size must be smaller than {self.limit} bytes")

    @staticmethod
    def _same(one: FunctionState, other: FunctionState) -> bool:
        return replace(one, version="", revision="") == replace(other, version="", revision="")

    def _next(self) -> str:
        self._revision += 1
        return f"r{self._revision}"
