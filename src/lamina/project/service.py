"""Define the configuration of a service: targets, functions, layers and sources. `lamina.project.config` reads it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from lamina.core.frozen import frozen
from lamina.project.budgets import NO_BUDGET, SizeBudget
from lamina.project.external import is_refused
from lamina.project.pinned import pin_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lamina.core.target import Target
    from lamina.project.external import AllowedLayer
    from lamina.project.ignored import IgnoredRule
    from lamina.project.pinned import PinnedLayer


class Packaging(Enum):
    """How a function gets its distributions."""

    LAYER = "layer"
    """By the layers that it has."""
    ZIP = "zip"
    """In its own zip."""


class BytecodeMode(Enum):
    """Which modules of a layer lamina compiles to bytecode."""

    NONE = "none"
    REACHABLE = "reachable"
    """The modules that the handlers can import."""
    ALL = "all"


class SdkPolicy(Enum):
    """Which AWS SDK (boto3 and its dependencies) the functions import."""

    CHECK = "check"
    """The locked distributions of the SDK, and the runtime's for the others. lamina checks that they are compatible."""
    BUNDLE = "bundle"
    """The complete SDK, which must be in the lock file and the layers."""
    RUNTIME = "runtime"
    """The SDK that is preinstalled in the runtime. The layers contain none of it."""


class LocalMode(Enum):
    """Where lamina puts local packages: members of a workspace, and path dependencies."""

    LAYER = "layer"
    FUNCTION = "function"
    """In the function packages, because local packages change together with the functions."""
    ERROR = "error"
    """Nowhere: a local package is an error."""


@frozen
class Function:
    """One Lambda function of the service."""

    name: str
    handler: str
    """The import path of the handler: ``package.module.function``, also with ``/`` between packages, as in Lambda."""
    layers: tuple[str, ...]
    """The layers that the function has; none if its distributions are in its zip."""
    memory_mb: int
    """The memory in MB for local invocations. The default is Lambda's own."""
    timeout_seconds: int
    """The time limit in seconds for local invocations. The default is Lambda's own."""
    environment: tuple[tuple[str, str], ...] = ()
    """The environment variables for local invocations, as pairs of name and value, sorted by name."""
    source: tuple[str, ...] | None = None
    """The function's own sources, in the form of `Service.source`; ``None`` if it uses those of the service."""
    layer_arns: tuple[str, ...] = ()
    """
    The ARNs of layer versions that the function also has, in their order.

    In those that a deploy description names, ``*`` stands for each part that only the deployment knows, such as the region,
    and `lamina.project.external.OWN_ACCOUNT` for the account of the deployment. lamina does not build
    these layers; see `Service.pinned`.
    """
    wrapper: str | None = None
    """
    The handler that Lambda calls in place of *handler*, such as that of a monitoring vendor's layer; empty for none.

    ``None`` if the function does not configure it.
    """

    budget: SizeBudget = NO_BUDGET
    """The limits for the function with all its layers; a missing one is that of the service."""
    packaging: Packaging = Packaging.LAYER
    bundled: tuple[str, ...] = ()
    """The layers whose distributions are in the function's zip; empty unless *packaging* is ``ZIP``."""

    @property
    def module(self) -> str:
        """The dotted name of the handler's module, which Lambda imports."""
        return self.handler.replace("/", ".").rpartition(".")[0]


@frozen
class PackageConfig:
    """The configuration of one function package: its sources, and the functions that share it."""

    source: tuple[str, ...]
    """First-party directories, files or globs, relative to the service's root."""
    functions: tuple[Function, ...]
    bundled: tuple[str, ...] = ()
    """The layers whose distributions the package contains, sorted by name."""


@frozen
class LayerConfig:
    """The configuration of one layer. Groups, extras and globs that the layer does not set are those of the service."""

    name: str
    groups: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    """Globs of paths relative to ``python/`` to leave out."""
    minus: tuple[str, ...] = ()
    """Layers whose distributions to leave out. Every function with this layer must have those layers too."""
    without: tuple[str, ...] = ()
    """The normalised names of distributions to leave out."""
    only: tuple[str, ...] | None = None
    """The normalised names of the only distributions to select; ``None`` for all."""
    first_party: bool = False
    """Whether the layer contains the service's own code: the files of `Service.source`."""
    budget: SizeBudget = NO_BUDGET
    """The limits for the layer."""


@frozen
class Service:
    """The complete configuration of one service."""

    root: Path
    """The directory of the configuration file. Relative paths in the configuration start here."""
    name: str
    target: Target
    source: tuple[str, ...]
    """First-party directories, files or globs, relative to *root*, of the functions without their own."""
    include: tuple[str, ...]
    """
    First-party paths or globs, relative to *root*, to package even if an ignore rule or git leaves them out.

    Those that start with ``../`` are in local packages.
    """
    bytecode: BytecodeMode
    exclude: tuple[str, ...]
    groups: tuple[str, ...]
    extras: tuple[str, ...]
    ignore: tuple[IgnoredRule, ...]
    """The rules whose findings are hidden."""
    lock: Path | None
    """The lock file, if the configuration sets one."""
    functions: tuple[Function, ...]
    layers: tuple[LayerConfig, ...]
    """The layers to build: those that a function has, and those that no function uses."""
    inputs: tuple[Path, ...]
    """The configuration files that define the service."""
    runtime_inputs: tuple[Path, ...] = ()
    """Those of *inputs* one of which sets the runtime; empty if an option of the command does."""
    store: str | None = None
    """The address of the team store, as ``s3://bucket/prefix``."""
    sdk: SdkPolicy = SdkPolicy.CHECK
    others: tuple[Target, ...] = ()
    """Additional targets to build for."""
    local: LocalMode = LocalMode.FUNCTION
    local_by_name: tuple[tuple[str, LocalMode], ...] = ()
    """The modes of local packages that do not use *local*, by normalised name."""
    build_sources: bool | tuple[str, ...] = True
    """Whether source distributions and git repositories may be built, or the normalised names of those that may."""
    notes: tuple[str, ...] = ()
    """What a build tells the user about the configuration, one sentence each."""
    allow_layers: tuple[AllowedLayer, ...] = ()
    """The layers by ARN that functions may have, with reasons."""
    accounts: tuple[str, ...] = ()
    """The accounts that the configuration publishes to. Functions may have their layers."""
    budget: SizeBudget = NO_BUDGET
    """The limits for each function with all its layers, and for each layer that no function uses."""
    pinned: tuple[PinnedLayer, ...] = ()
    """What is known of the layers by ARN that functions have; without the ARNs that are not pinned yet."""
    provided: tuple[str, ...] = ()
    """Modules that exist on Lambda although neither lamina nor the runtime provides them, such as those of a file system."""
    is_named: bool = True
    """Whether *name* comes from ``pyproject.toml``. If false, *name* is the directory's name."""
    bundles: tuple[LayerConfig, ...] = ()
    """The layers that exist only in the zips of functions, and are neither built nor published by themselves."""

    @property
    def selected(self) -> tuple[LayerConfig, ...]:
        """Everything that selects distributions: *layers* and *bundles*."""
        return (*self.layers, *self.bundles)

    def refuses(self, arn: str, *accounts: str) -> bool:
        """Return whether the layer version *arn* is of an account other than `accounts` and *accounts*, and is not allowed."""
        return is_refused(arn, self.allow_layers, {*self.accounts, *accounts})

    def pins_of(self, arns: Iterable[str]) -> tuple[PinnedLayer, ...]:
        """Return what is known of the layers *arns*, in their order, without those that are not pinned."""
        return tuple(pin for arn in arns if (pin := pin_of(arn, self.pinned)) is not None)

    @property
    def external_bytes(self) -> dict[str, int]:
        """The unzipped size in bytes of each pinned layer, by its ARN as `Function.layer_arns` has it."""
        return {
            arn: pin.contents.unzipped_bytes
            for function in self.functions
            for arn in function.layer_arns
            for pin in self.pins_of((arn,))
        }

    @property
    def packages(self) -> tuple[PackageConfig, ...]:
        """
        The packages to write, in the order of their first functions: one for each set of sources and distributions.

        A service without functions has one package without functions, so that its sources still count as an input.
        """
        if not self.functions:
            return (PackageConfig(source=self.source, functions=()),)
        own_code = {config.name for config in self.selected if config.first_party}
        sources: dict[tuple[frozenset[str], frozenset[str]], tuple[str, ...]] = {}
        sharing: dict[tuple[frozenset[str], frozenset[str]], list[Function]] = {}
        for function in self.functions:
            source = self.source if function.source is None else function.source
            if function.source is not None and own_code.intersection(function.bundled):
                source = tuple(dict.fromkeys((*source, *self.source)))
            key = frozenset(source), frozenset(function.bundled)
            sources.setdefault(key, source)
            sharing.setdefault(key, []).append(function)
        return tuple(
            PackageConfig(source=source, functions=tuple(sharing[key]), bundled=tuple(sorted(key[1])))
            for key, source in sources.items()
        )
