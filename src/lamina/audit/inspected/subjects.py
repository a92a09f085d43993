"""Find the zips of what `lamina inspect` is asked about: a layer by ARN, a function with its layers, or a file."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.errors import AwsError, ConfigError, CredentialsError, OfflineError
from lamina.core.frozen import frozen
from lamina.core.temporary import temporary_directory
from lamina.project.external import LayerArn
from lamina.project.pinned import is_pinnable, read_pins

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.aws.api.functions import FunctionState
    from lamina.core.errors import LaminaError
    from lamina.core.reporter import Reporter
    from lamina.core.store import Store

_EXAMPLES = "pass the ARN of a layer version, the name or ARN of a function, or the path of a zip"


@frozen
class InspectedZip:
    """A zip on disk, with what AWS states about it."""

    name: str
    """The ARN of the layer version, the path of the file, or ``code of NAME``."""
    path: Path
    is_layer: bool | None
    """Whether it is a layer or a function's package; ``None`` if only its content tells."""
    arn: str | None = None
    runtimes: tuple[str, ...] = ()
    """The runtimes that the publisher states, or the function's; empty for none."""
    architectures: tuple[str, ...] = ()
    license: str | None = None
    """The licence that the publisher states: a name, an address or a text."""


@frozen
class InspectedSubject:
    """What is inspected."""

    zips: tuple[InspectedZip, ...]
    """A function's layers in the order in which Lambda unpacks them, then its code; else one zip."""
    function: FunctionState | None = None
    failures: tuple[LaminaError, ...] = ()
    """Why layers of the function cannot be read."""


@contextmanager
def located(
    text: str, *, project: Path | None, store: Store, offline: bool, reporter: Reporter
) -> Iterator[InspectedSubject]:
    """
    Yield what *text* names: a layer version by ARN, a function by name or ARN, or the path of a zip.

    The zips of layers are kept in *store*, and used from there if *project* has pinned them and lamina is *offline*. A function's code is
    deleted at the end of the context. Raises `ConfigError` if *text* names none of these, `AwsError`, and `OfflineError`.
    """
    if (path := _file(text)) is not None:
        yield InspectedSubject(zips=(InspectedZip(name=text, path=path, is_layer=None),))
    elif text.startswith("arn:") and ":layer:" in text:
        yield InspectedSubject(zips=(_layer(_version_arn(text), project, store, offline=offline, reporter=reporter),))
    else:
        with temporary_directory("inspect") as directory:
            yield _function(text, directory, project, store, offline=offline, reporter=reporter)


def _file(text: str) -> Path | None:
    """Return the path *text*, or ``None`` if it is not one. Raises `ConfigError` if the file does not exist."""
    path = Path(text)
    if path.is_file():
        return path
    if path.is_dir():
        raise ConfigError(f"`{text}` is a directory", hint=_EXAMPLES)
    if not text.startswith("arn:") and (text.endswith(".zip") or "/" in text):
        raise ConfigError(f"`{text}` does not exist", hint=_EXAMPLES)
    return None


def _version_arn(text: str) -> str:
    # `layer-arns` may leave the partition, the region or the version to the deployment.
    is_exact = not {"*", "$"} & {*text}
    if is_exact and is_pinnable(text):
        return text
    if is_exact and LayerArn.parse(text) is not None:
        raise ConfigError(
            f"`{text}` names a layer, not one of its versions",
            hint=f"add the number of a version: `lamina inspect {text}:1`",
        )
    raise ConfigError(f"`{text}` is not the ARN of a layer version", hint=_EXAMPLES)


def _layer(arn: str, project: Path | None, store: Store, *, offline: bool, reporter: Reporter) -> InspectedZip:
    """Return the layer version *arn*, downloaded in the region of the ARN unless *store* has its content."""
    # Importing the clients of AWS is slow, and a file needs none.
    from lamina.aws.external.zips import ExternalRegions, provide, stored_zip

    if offline:
        pin = next((each for each in read_pins(project) if each.arn == arn), None) if project is not None else None
        path = stored_zip(store, pin.sha256) if pin is not None else None
        if pin is None or path is None:
            raise OfflineError(
                f"layer `{arn}` is not pinned or not in the store, and `--offline` prevents the download",
                hint="run the command without `--offline`",
            )
        return InspectedZip(
            name=arn,
            arn=arn,
            path=path,
            is_layer=True,
            runtimes=pin.runtimes,
            architectures=pin.architectures,
            license=pin.license,
        )
    regions = ExternalRegions()
    version = regions.version(arn)
    return InspectedZip(
        name=arn,
        arn=arn,
        path=provide(version, regions.of(arn), store, reporter),
        is_layer=True,
        runtimes=version.runtimes,
        architectures=version.architectures,
        license=version.license,
    )


def _function(
    text: str, directory: Path, project: Path | None, store: Store, *, offline: bool, reporter: Reporter
) -> InspectedSubject:
    from lamina.aws.external.functions import FunctionName, FunctionSource

    name = FunctionName.parse(text)
    if name is None:
        raise ConfigError(f"`{text}` is neither an ARN nor the name of a function nor a file", hint=_EXAMPLES)
    if offline:
        raise OfflineError(
            f"`--offline` prevents reading function `{text}`", hint="run the command without `--offline`"
        )
    reporter.stage(f"reading function {name.name}")
    function = FunctionSource(name)
    state = function.state
    zips: list[InspectedZip] = []
    failures: list[LaminaError] = []
    for arn in state.settings.layers:
        try:
            zips.append(_layer(arn, project, store, offline=False, reporter=reporter))
        except CredentialsError:
            raise
        except AwsError as error:
            # The function keeps running with a layer that was deleted or is no longer shared.
            failures.append(error)
    code = directory / "code.zip"
    function.download(code)
    own = InspectedZip(
        name=f"code of {name.name}",
        path=code,
        is_layer=False,
        runtimes=(state.settings.runtime,),
        architectures=(state.architecture,),
    )
    return InspectedSubject(zips=(*zips, own), function=state, failures=tuple(failures))
