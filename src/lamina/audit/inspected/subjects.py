"""Find the zips of what `lamina inspect` is asked about: a layer by ARN, a function with its layers, or a file."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.errors import AwsError, ConfigError, CredentialsError, OfflineError
from lamina.core.frozen import frozen
from lamina.core.temporary import temporary_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lamina.aws.api.functions import FunctionState
    from lamina.aws.external.zips import ExternalRegions
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

    The zips of layers are kept in *store*, and used from there if *project* has pinned them. A function's code is deleted at the end of the
    context. Raises `ConfigError` if *text* names none of these, `AwsError`, `OfflineError`, and the errors of
    `lamina.aws.external.zips.layer_zip`.
    """
    if (path := _file(text)) is not None:
        yield InspectedSubject(zips=(InspectedZip(name=text, path=path, is_layer=None),))
    elif text.startswith("arn:") and ":layer:" in text:
        yield InspectedSubject(zips=(_layer(text, project, store, offline=offline, reporter=reporter),))
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


def _layer(
    arn: str,
    project: Path | None,
    store: Store,
    *,
    offline: bool,
    reporter: Reporter,
    regions: ExternalRegions | None = None,
) -> InspectedZip:
    # Importing the clients of AWS is slow, and a file needs none.
    from lamina.aws.external.zips import layer_zip

    found = layer_zip(arn, project, store=store, offline=offline, reporter=reporter, regions=regions)
    return InspectedZip(
        name=arn,
        arn=arn,
        path=found.path,
        is_layer=True,
        runtimes=found.runtimes,
        architectures=found.architectures,
        license=found.license,
    )


def _function(
    text: str, directory: Path, project: Path | None, store: Store, *, offline: bool, reporter: Reporter
) -> InspectedSubject:
    from lamina.aws.external.functions import FunctionName, FunctionSource
    from lamina.aws.external.zips import ExternalRegions

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
    regions = ExternalRegions()
    for arn in state.settings.layers:
        try:
            zips.append(_layer(arn, project, store, offline=False, reporter=reporter, regions=regions))
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
