"""
Read and write the versioned build report, which is ``.lamina/build.json`` and the output of ``lamina build --json``.

In version "1", sizes are in bytes, names are normalised, and paths are relative to the project with ``/``.
Fields may be added within a version. No field is removed or changes its meaning.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lamina.core.documents import INVALID, open_sealed, read_bounded, seal
from lamina.core.errors import ConfigError
from lamina.core.frozen import as_dict
from lamina.core.target import Target, quotas
from lamina.core.values import Build, Distribution, Extent, Finding, Layer, Package, Severity
from lamina.project.newer_facts import use_facts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import TypeVar

    _Class = TypeVar("_Class")

VERSION = "1"
OUTPUT_DIRECTORY = ".lamina"
_MOST = 1 << 63
_LIMITS = ("unzipped_bytes", "direct_upload_bytes", "console_bytes", "layers")
BUILD_NAME = "build.json"
BUILD_FILE = f"{OUTPUT_DIRECTORY}/{BUILD_NAME}"


def place_of(target: Target) -> str:
    """Return the output directory for *target*, relative to the project. The first target uses `OUTPUT_DIRECTORY` instead."""
    return f"{OUTPUT_DIRECTORY}/{target.runtime}-{target.architecture}"


def document(build: Build, *, project: Path, others: Sequence[Build] = ()) -> dict[str, object]:
    """Return the report of *build* as JSON values; *others* are the builds for the service's other targets."""
    content = _document(build, project=project)
    if others:
        content["other_targets"] = [_document(other, project=project) for other in others]
    return content


def _document(build: Build, *, project: Path) -> dict[str, object]:
    return {
        "version": VERSION,
        "service": build.service,
        "target": {"runtime": build.target.runtime, "architecture": str(build.target.architecture)},
        "layers": [_layer(layer, project, build.target) for layer in build.layers],
        "functions": [_package(package, project) for package in build.packages],
        "limits": {name: getattr(quotas(), name) for name in _LIMITS},
        "findings": [finding_document(finding) for finding in build.findings],
        "ignored": [finding_document(finding) for finding in build.ignored],
        "reused": build.reused,
        "seconds": round(build.seconds, 3),
    }


def finding_document(finding: Finding) -> dict[str, object]:
    """Return *finding* as JSON values."""
    return as_dict(finding) | {"severity": finding.severity.value}


def encode(build: Build, *, project: Path, others: Sequence[Build] = (), output: str = OUTPUT_DIRECTORY) -> bytes:
    """Return the content of the report file for *build* and *others* in the directory *output*, relative to *project*."""
    return seal(document(build, project=project, others=others), f"{output}/{BUILD_NAME}", indent=2)


def read(project: Path, output: str = OUTPUT_DIRECTORY) -> Build:
    """
    Return the last build of *project*, from the report in the directory *output*, which is relative to *project*.

    The builds of other targets are not read. Raises ConfigError if there is no report, or if the report is unreadable,
    damaged or has another format version, and the errors of `lamina.project.newer_facts.use_facts_of`.
    """
    path = project / output / BUILD_NAME
    sealed = read_bounded(path)
    if sealed is None:
        raise ConfigError(f"no build found in `{project}`", hint="run `lamina build`")
    try:
        content = open_sealed(sealed, f"{output}/{BUILD_NAME}")
        use_facts_of(project)
        return _build(content, project)
    except INVALID as error:
        raise _unreadable(path) from error


def read_all(project: Path) -> tuple[Build, ...]:
    """Return the last build of *project* for each target, the first target first. Raises ConfigError like `read`."""
    others = sorted((project / OUTPUT_DIRECTORY).glob(f"python*/{BUILD_NAME}"))
    places = (OUTPUT_DIRECTORY, *(f"{OUTPUT_DIRECTORY}/{path.parent.name}" for path in others))
    return tuple(read(project, place) for place in places)


def read_file(path: Path, project: Path) -> tuple[Build, ...]:
    """
    Return the build for each target in the report *path*, which may be of another machine, the first target first.

    The report of a workspace has the builds of several services; those that failed are left out. Files are in *project*. Nothing proves that lamina wrote it. Raises ConfigError if it is missing, unreadable or has another format version.
    """
    content = read_bounded(path)
    if content is None:
        raise ConfigError(
            f"`{path}` does not exist or is not readable",
            hint="copy `.lamina/build.json` of another build, or write it with `lamina build --json`",
        )
    try:
        document = json.loads(content)
        services = [each for each in document["services"] if "target" in each] if "services" in document else [document]
        return tuple(
            _build(each, project) for service in services for each in (service, *service.get("other_targets", ()))
        )
    except INVALID as error:
        raise _unreadable(path) from error


def _build(content: dict[str, Any], project: Path) -> Build:
    """Return the build that *content* describes. Raises one of `INVALID` if it does not."""
    if content["version"] != VERSION:
        raise ValueError("another format version")
    build = _checked(
        Build,
        service=content["service"],
        target=Target.of(**content["target"]),
        layers=tuple(_read_layer(row, project) for row in content["layers"]),
        packages=tuple(_read_package(row, project) for row in content["functions"]),
        findings=tuple(map(read_finding, content["findings"])),
        ignored=tuple(map(read_finding, content.get("ignored", ()))),
        reused=content["reused"],
        seconds=content["seconds"],
    )
    if not {name for package in build.packages for name in package.layers} <= {layer.name for layer in build.layers}:
        raise ValueError("a function has an unknown layer")
    return build


def _unreadable(path: Path) -> ConfigError:
    return ConfigError(
        f"`{path}` is not a readable build report of version {VERSION}", hint="run `lamina build` to create it again"
    )


def _layer(layer: Layer, project: Path, target: Target) -> dict[str, object]:
    return {
        "name": layer.name,
        # None means all architectures of the runtime.
        "architecture": str(target.architecture) if layer.is_native else None,
        "path": layer.path.relative_to(project).as_posix(),
        "digest": layer.digest,
        "sha256": layer.sha256,
        "code_sha256": layer.code_sha256,
        "zipped_bytes": layer.zipped_bytes,
        "unzipped_bytes": layer.unzipped_bytes,
        "files": layer.files,
        "distributions": [as_dict(distribution) for distribution in layer.distributions],
        "segments": _segments(layer.extents),
    }


def _package(package: Package, project: Path) -> dict[str, object]:
    return {
        "name": package.name,
        "handler": package.handler,
        "path": package.path.relative_to(project).as_posix(),
        "sha256": package.sha256,
        "code_sha256": package.code_sha256,
        "zipped_bytes": package.zipped_bytes,
        "unzipped_bytes": package.unzipped_bytes,
        "files": package.files,
        "layers": list(package.layers),
        "layer_arns": list(package.layer_arns),
        "packaging": package.packaging,
        "bundled": list(package.bundled),
        "total_unzipped_bytes": package.total_unzipped_bytes,
        "console_editable": package.console_editable,
        "distributions": [as_dict(distribution) for distribution in package.distributions],
        "segments": _segments(package.extents),
    }


def _segments(extents: Iterable[Extent]) -> list[dict[str, object]]:
    return [{"name": extent.name, "bytes": extent.size, "segment": extent.segment} for extent in extents]


def read_finding(row: dict[str, Any]) -> Finding:
    """Return the finding that `finding_document` wrote as *row*. Raises one of `INVALID` if it did not."""
    return _checked(Finding, **(row | {"severity": Severity(row["severity"])}))


def _read_layer(row: dict[str, Any], project: Path) -> Layer:
    values = {key: value for key, value in row.items() if key not in {"architecture", "code_sha256", "segments"}}
    values["path"] = project / row["path"]
    values |= _read_contents(row)
    return _checked(Layer, **values)


def _read_contents(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "extents": tuple(
            _checked(Extent, name=each["name"], size=each["bytes"], segment=each.get("segment", ""))
            for each in row.get("segments", ())
        ),
        "distributions": tuple(_checked(Distribution, **distribution) for distribution in row.get("distributions", ())),
    }


def _read_package(row: dict[str, Any], project: Path) -> Package:
    values = {key: value for key, value in row.items() if key not in {"code_sha256", "segments"}}
    lists = {name: tuple(row.get(name, ())) for name in ("layers", "layer_arns", "bundled")}
    return _checked(Package, **(values | lists | _read_contents(row) | {"path": project / row["path"]}))


def _checked(cls: type[_Class], /, **values: object) -> _Class:
    """Return the *cls* with *values*. Raises one of `INVALID` if a text, a number or a path among them is of another type, or out of range."""
    made = cls(**values)
    for name, annotation in cls.__annotations__.items():
        is_valid = _VALID.get(annotation)
        if is_valid is not None and not is_valid(getattr(made, name)):
            raise ValueError(f"`{name}` is not a {annotation}")
    return made


def _is_text(value: object) -> bool:
    # No file can have a name with a NUL or with a surrogate, which `encode` refuses.
    return isinstance(value, str) and b"\0" not in value.encode()


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


_VALID: Mapping[str, Callable[[Any], bool]] = {
    "str": _is_text,
    "str | None": lambda value: value is None or _is_text(value),
    "tuple[str, ...]": lambda value: all(map(_is_text, value)),
    "int": _is_number,
    "int | None": lambda value: value is None or _is_number(value),
    "float": lambda value: _is_number(value) or isinstance(value, float),
    "bool": lambda value: isinstance(value, bool),
    "Path": lambda value: _is_text(str(value)),
}
"""What a value of a report must be, by the annotation of its field."""
