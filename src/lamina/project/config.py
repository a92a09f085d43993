"""
Read and validate ``[tool.lamina]``, the configuration of a service.

`load` returns a `Service` with all names checked. No other module handles the TOML of a service's configuration.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from lamina.core.buckets import bucket_mistake
from lamina.core.errors import ConfigError, InvalidConfigError
from lamina.core.frozen import replace
from lamina.core.names import normalized
from lamina.core.store import Store
from lamina.core.target import Architecture, Target, runtimes
from lamina.project import members
from lamina.project.budgets import read_budget
from lamina.project.described import read_described
from lamina.project.entries import read_include, read_source
from lamina.project.external import read_accounts, read_allowed
from lamina.project.file import read
from lamina.project.functions import DEFAULT_LAYER, divide_layers, read_functions, read_layers, setting
from lamina.project.ignored import read_ignored
from lamina.project.newer_facts import use_facts
from lamina.project.options import BuildOptions
from lamina.project.pinned import LOCK_NAME, read_pins
from lamina.project.service import BytecodeMode, Function, LayerConfig, LocalMode, Packaging, SdkPolicy, Service
from lamina.project.table import Table, unusable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lamina.project.described import DescribedFunctions

_NOTHING = BuildOptions()
_Mode = TypeVar("_Mode", bound=Enum)
_BUCKET_ADDRESS = re.compile(r"s3://([^/]+)(?:/[A-Za-z0-9_./-]*)?")
COMMAND_SECTIONS = ("audit", "deploy", "publish")
"""The tables that commands read with `section`."""


def load(project: Path, options: BuildOptions = _NOTHING, *, store: Store | None = None) -> Service:
    """
    Return the configuration of the service in the directory *project*, with *options* applied.

    Without a ``functions`` table, the functions are those of the project's deploy description. *store* keeps what it says
    (default: `Store.open`).
    Raises the errors of `lamina.project.file.read`. Raises `ConfigError` if the directory configures a workspace or if an
    option is invalid, `TemplateError` if the deploy description is invalid, and `InvalidConfigError` with all mistakes if the
    configuration is invalid.
    """
    file = read(project)
    members.refuse(file)
    mistakes: list[tuple[str, str]] = []
    reader = file.table(mistakes)
    facts, notes = use_facts(reader, project)
    described = None
    if "functions" in reader:
        reader.string("template")
    else:
        described = read_described(reader, project, Store.open() if store is None else store)
    target, others = _targets(reader, options, described)
    source = read_source(reader, project) or ()
    include = read_include(reader)
    bytecode = _one_of(reader, "bytecode", BytecodeMode, BytecodeMode.REACHABLE)
    local, local_by_name = _local(reader)
    build_sources = _build_sources(reader)
    sdk = _one_of(reader, "sdk", SdkPolicy, SdkPolicy.CHECK)
    packaging = _one_of(reader, "packaging", Packaging, Packaging.LAYER)
    common = LayerConfig(
        name=DEFAULT_LAYER,
        groups=reader.strings("groups") or (),
        extras=reader.strings("extras") or (),
        exclude=reader.strings("exclude") or (),
    )
    ignore = read_ignored(reader)
    allow_layers = read_allowed(reader)
    budget = read_budget(reader)
    provided = reader.strings("provided") or ()
    lock = _lock(reader, project)
    team_store = _store(reader)
    layers = read_layers(reader, common)
    described_mistakes: list[tuple[str, str]] = []
    table = reader if described is None else described.table(reader, described_mistakes)
    functions = read_functions(table, layers, project, packaging)
    sections = {command: reader.table(command) for command in COMMAND_SECTIONS}
    _check_sources_and_functions(reader, source=source, functions=functions, layers=layers, described=described)
    layers, bundles = divide_layers(reader, layers, functions, packaging)
    reader.done()
    if described is not None and described_mistakes:
        raise InvalidConfigError(
            file=described.path,
            mistakes=described_mistakes,
            hint="correct the template, or run `lamina init` to configure the functions",
        )
    if mistakes or target is None:
        raise InvalidConfigError(file=file.path.name, mistakes=mistakes)
    has_arns = any(function.layer_arns for function in functions)
    service = Service(
        root=project,
        name=file.project_name or project.absolute().name,
        is_named=file.project_name is not None,
        target=target,
        source=source,
        include=include,
        bytecode=bytecode,
        exclude=common.exclude,
        groups=common.groups,
        extras=common.extras,
        ignore=ignore,
        allow_layers=allow_layers,
        accounts=read_accounts(sections["publish"]),
        budget=budget,
        pinned=read_pins(project) if has_arns else (),
        provided=provided,
        lock=lock,
        functions=functions,
        layers=layers,
        bundles=bundles,
        notes=(*notes, *(described.notes if described is not None else ())),
        inputs=(
            file.path,
            *facts,
            *(described.inputs if described is not None else ()),
            *((project / LOCK_NAME,) if has_arns else ()),
        ),
        runtime_inputs=_runtime_inputs(file.path, reader, options, described),
        store=team_store,
        sdk=sdk,
        local=local,
        local_by_name=local_by_name,
        build_sources=build_sources,
        others=others,
    )
    return _extended(service, options)


def _runtime_inputs(
    path: Path, reader: Table, options: BuildOptions, described: DescribedFunctions | None
) -> tuple[Path, ...]:
    if options.runtime is not None:
        return ()
    if described is None or "runtime" in reader or "targets" in reader:
        return (path,)
    return tuple(dict.fromkeys((path.parent / described.path, *described.inputs)))


def section(project: Path, name: str, mistakes: list[tuple[str, str]]) -> tuple[str, Table]:
    """
    Return the name of the configuration file and its table *name*, or an empty table if it is missing.

    The returned table appends its mistakes to *mistakes*. Raises the errors of `lamina.project.file.read`.
    """
    file = read(project)
    reader = file.table(mistakes)
    return file.path.name, reader.table(name) or Table({}, key=reader.key(name), mistakes=mistakes)


def _extended(service: Service, options: BuildOptions) -> Service:
    """Add the groups and extras of *options* to *service*, and to each layer with the same groups or extras as *service*."""
    groups = _joined(service.groups, options.groups)
    extras = _joined(service.extras, options.extras)

    def extended(layers: tuple[LayerConfig, ...]) -> tuple[LayerConfig, ...]:
        return tuple(
            replace(
                layer,
                groups=groups if layer.groups == service.groups else layer.groups,
                extras=extras if layer.extras == service.extras else layer.extras,
            )
            for layer in layers
        )

    layers, bundles = extended(service.layers), extended(service.bundles)
    return replace(service, groups=groups, extras=extras, layers=layers, bundles=bundles)


def _store(reader: Table) -> str | None:
    value = reader.string("store")
    if value is None:
        return None
    address = _BUCKET_ADDRESS.fullmatch(value)
    if address is None:
        reader.complain(
            "store", f"`{value}` is not a valid bucket address; expected `s3://bucket` or `s3://bucket/prefix`"
        )
    elif (mistake := bucket_mistake(address[1])) is not None:
        reader.complain("store", f"`{address[1]}` {mistake}")
    return value


def _joined(configured: tuple[str, ...], added: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*configured, *added)))


def _targets(
    reader: Table, options: BuildOptions, described: DescribedFunctions | None
) -> tuple[Target | None, tuple[Target, ...]]:
    """
    Return the first target and the other targets. If the configuration is invalid, record mistakes and return ``None, ()``.

    A runtime or architecture in *options* selects the matching targets. If none matches, the only target is the first one
    with that runtime or architecture. Raises `ConfigError` if Lambda does not offer it.
    """
    names = reader.strings("targets")
    if names is None:
        if "targets" in reader:
            # The mistake is already recorded. Read both keys, so that they are not reported as unknown.
            reader.string("runtime"), reader.string("architecture")
            return None, ()
        return _target(reader, options, described), ()
    for key in ("runtime", "architecture"):
        if reader.string(key) is not None:
            reader.complain(key, "conflicts with `targets`; remove one of the two")
    found = [target for name in names if (target := _named_target(reader, name)) is not None]
    if not names:
        reader.complain("targets", 'the list is empty; example: ["python3.13-arm64", "python3.13-x86_64"]')
    if len(found) < len(names) or not found:
        return None, ()
    if options.runtime or options.architecture:
        asked = [
            target
            for target in found
            if options.runtime in {None, target.runtime} and options.architecture in {None, target.architecture}
        ]
        first = found[0]
        found = asked or [Target.of(options.runtime or first.runtime, options.architecture or str(first.architecture))]
    return found[0], tuple(found[1:])


def _named_target(reader: Table, name: str) -> Target | None:
    runtime, dash, architecture = name.partition("-")
    if not dash:
        reader.complain(
            "targets", f'`{name}` does not have the form "runtime-architecture"; example: "python3.13-arm64"'
        )
        return None
    return Target.of(runtime, architecture) if _try_target(reader, "targets", runtime, architecture) else None


def _target(reader: Table, options: BuildOptions, described: DescribedFunctions | None) -> Target | None:
    """
    Return the target: from *options*, from the configuration, otherwise from what is *described*.

    If the configured runtime or architecture is invalid, record the mistake and return ``None``. Raises `ConfigError` if an
    option of the command line is invalid.
    """
    runtime, architecture = reader.string("runtime"), reader.string("architecture")
    has_mistake = "runtime" in reader and runtime is None and options.runtime is None
    runtime, architecture = options.runtime or runtime, options.architecture or architecture
    if described is not None:
        runtime = described.runtime if runtime is None else runtime
        architecture = described.architecture if architecture is None else architecture
    architecture = str(setting("architecture").default) if architecture is None else architecture
    if runtime is None or has_mistake:
        if not has_mistake:
            known = ", ".join(f"`{entry.name}`" for entry in runtimes())
            reader.complain("runtime", f"missing required key; set it to one of {known}")
        runtime = runtimes()[-1].name
        _try_target(reader, "architecture", runtime, architecture)
        return None
    try:
        return Target.of(runtime, architecture)
    except ConfigError:
        known_runtime, known_architecture = runtimes()[-1].name, Architecture.X86_64
        fine = _try_target(reader, "runtime", runtime, known_architecture, flag=options.runtime is not None)
        fine &= _try_target(reader, "architecture", known_runtime, architecture, flag=options.architecture is not None)
        if fine:
            _try_target(reader, "architecture", runtime, architecture)
        return None


def _try_target(reader: Table, key: str, runtime: str, architecture: str, *, flag: bool = False) -> bool:
    """
    Return whether Lambda offers *runtime* on *architecture*; otherwise record a mistake at *key*.

    With *flag*, the value comes from the command-line option ``--KEY``, and the function raises `ConfigError` instead.
    """
    try:
        Target.of(runtime, architecture)
    except ConfigError as error:
        fact = f"{error}; {error.hint}" if error.hint else str(error)
        if flag:
            raise ConfigError(f"--{key}: {error}", hint=error.hint) from error
        reader.complain(key, fact)
        return False
    return True


def _one_of(reader: Table, key: str, modes: type[_Mode], default: _Mode) -> _Mode:
    value = reader.one_of(key, [str(mode.value) for mode in modes])
    return default if value is None else modes(value)


def _local(reader: Table) -> tuple[LocalMode, tuple[tuple[str, LocalMode], ...]]:
    """Return the default mode of local packages, and the modes of packages that are configured by name."""
    entry = reader.string_or_table("local")
    if isinstance(entry, Table):
        modes = {normalized(name): _one_of(entry, name, LocalMode, LocalMode.FUNCTION) for name in entry}
        return LocalMode.FUNCTION, tuple(sorted(modes.items(), key=lambda mode: mode[0]))
    return (LocalMode.FUNCTION if entry is None else _one_of(reader, "local", LocalMode, LocalMode.FUNCTION)), ()


def _build_sources(reader: Table) -> bool | tuple[str, ...]:
    """Return whether third-party sources may be built, or the normalised names of those that may."""
    value = reader.boolean_or_strings("build-sources")
    if isinstance(value, tuple):
        return tuple(sorted(normalized(name) for name in value))
    return value is not False


def _lock(reader: Table, project: Path) -> Path | None:
    value = reader.string("lock")
    if value is None:
        return None
    # The lock file may be outside the project: a workspace has one lock file for all its members. Finding the lock reports a
    # missing file: `lamina init` names a lock before it exists.
    if (fact := unusable(value)) is not None:
        reader.complain("lock", fact)
        return None
    return project / value


def _check_sources_and_functions(
    reader: Table,
    *,
    source: Iterable[str],
    functions: Iterable[Function],
    layers: Iterable[LayerConfig],
    described: DescribedFunctions | None,
) -> None:
    """
    Record a mistake if only one of `source` and `functions` is set, unless each function has its own `source`.

    A project with neither builds layers only. A layer with the service's own code needs `source`, but no functions.
    """
    own = [layer.name for layer in layers if layer.first_party]
    if own and not source and "source" not in reader:
        reader.complain(
            "source", f'missing required key; list the directories of the code for layer `{own[0]}`, such as ["shared"]'
        )
    for function in functions:
        if function.source is None and (
            both := [name for name in (*function.layers, *function.bundled) if name in own]
        ):
            reader.complain(
                f"functions.{function.name}",
                f"missing required key `source`; list the function's own code, because layer `{both[0]}` contains that of "
                "the service (`first-party`)",
            )
    if own:
        return
    without = [function.name for function in functions if function.source is None]
    if "source" not in reader and without:
        used = (
            ""
            if len(without) == len(tuple(functions))
            else f", or set `source` for {', '.join(f'`{name}`' for name in without)}"
        )
        reader.complain(
            "source", f'missing required key; list the directories of your handlers, such as ["service"]{used}'
        )
    if "source" in reader and source and described is not None and not described.path:
        reader.complain(
            "functions",
            "missing required table; set each function's handler, such as "
            '`report = "service.handlers.report.lambda_handler"`',
        )
