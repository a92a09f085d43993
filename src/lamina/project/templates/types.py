"""
What a deploy description says, in the same values for every tool.

Each reader is a module with ``read(path: str, files: TemplateFiles) -> Template``. A reader never guesses: a setting that
depends on the deployment is ``None``, and `TemplateFunction.unknown` has the reason.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from lamina.core.frozen import frozen
from lamina.core.names import valid_function_name
from lamina.project.functions import setting

if TYPE_CHECKING:
    from lamina.project.snapshot import Snapshot


class Tool(Enum):
    """A tool whose deploy descriptions lamina reads, by the name that messages use."""

    SAM = "SAM"
    CLOUDFORMATION = "CloudFormation"
    SERVERLESS = "Serverless Framework"
    TERRAFORM = "Terraform"
    CDK = "AWS CDK"


@frozen
class Origin:
    """A place in a deploy description."""

    file: str
    """The path relative to the project, with ``/``."""
    line: int | None = None
    """The line number, starting with 1; ``None`` if the parser does not know it."""

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@frozen
class UnknownSetting:
    """A setting that only the deployment decides."""

    setting: str
    """The name of the setting as lamina configures it: ``handler``, ``source``, ``runtime``, ``layers`` and so on."""
    reason: str
    """Why the value is unknown, such as ``parameter `Stage` has no default``."""
    origin: Origin | None = None
    """The place of the value in the description, if it is recorded."""


@frozen
class LayerReference:
    """A layer that a function uses: one that the same description creates, or one with an ARN."""

    name: str
    """
    The name of the layer in the description, or the ARN.

    ``*`` stands for a part of the ARN that only the deployment decides, and `lamina.project.external.OWN_ACCOUNT` for the
    account of the deployment.
    """

    @property
    def is_arn(self) -> bool:
        """Whether *name* is the ARN of a layer version."""
        return self.name.startswith("arn:")


@frozen
class TemplateFunction:
    """A Lambda function with a managed Python runtime."""

    name: str
    """The function's name in the description: the logical ID, the key in ``functions``, or the name of the resource."""
    origin: Origin
    handler: str | None = None
    """The handler as Lambda receives it, such as ``app.lambda_handler``."""
    source: str | None = None
    """
    The directory that Lambda unpacks as the function's code, relative to the project: ``.`` for the project itself.

    It can also be a single ``.py`` file.
    """
    more: tuple[str, ...] = ()
    """Further directories and ``.py`` files that Lambda unpacks into the same directory as *source*."""
    patterns: tuple[str, ...] = ()
    """Globs relative to *source* that choose its files; those that start with ``!`` leave files out. Empty: all files."""
    runtime: str | None = None
    """Lambda's name of the runtime, such as ``python3.13``."""
    architecture: str | None = None
    """``x86_64`` or ``arm64``; ``None`` if the description does not set it, so that Lambda's default applies."""
    memory_mb: int | None = None
    timeout_seconds: int | None = None
    environment: tuple[str, ...] = ()
    """The names of the environment variables, sorted. Values are not read, because they may be secrets."""
    layers: tuple[LayerReference, ...] = ()
    unknown: tuple[UnknownSetting, ...] = ()

    @property
    def target_architecture(self) -> str | None:
        """The architecture that Lambda will use: the default if none is set; ``None`` if only the deployment decides it."""
        if self.architecture is None and self.why_unknown("architecture") is None:
            return str(setting("architecture").default)
        return self.architecture

    def why_unknown(self, name: str) -> str | None:
        """Return why the setting *name* is unknown, or ``None`` if it is known or not set."""
        return next((each.reason for each in self.unknown if each.setting == name), None)


@frozen
class TemplateLayer:
    """A layer that the description creates."""

    name: str
    origin: Origin
    source: str | None = None
    """The directory or zip with the layer's content, relative to the project; ``None`` if it is unknown."""


@frozen
class Stated:
    """A value of the description, and the place that states it."""

    value: str
    origin: Origin
    is_certain: bool = True
    """Whether it is deployed in any case. Otherwise a condition decides that during the deployment."""


@frozen
class Deployed:
    """A Python function or a layer as the description deploys it, also one that lamina does not build. `lamina check` compares it."""

    name: str
    """The name of the function or layer in the description, as *layers* names it."""
    origin: Origin
    is_layer: bool = False
    construct: str | None = None
    """The path of the construct, if the AWS CDK made the description."""
    handler: str | None = None
    content: str | None = None
    """The zip, directory or file that is deployed, relative to the project; ``None`` if it is unknown."""
    runtimes: tuple[Stated, ...] = ()
    """The function's runtime, or the runtimes that the layer declares."""
    architectures: tuple[Stated, ...] = ()
    """The function's architecture, or those that the layer declares; empty if none is set."""
    layers: tuple[Stated, ...] = ()
    """The function's layers in their order: names of layers of the description, and ARNs as `LayerReference` has them."""
    imports: tuple[Stated, ...] = ()
    """The names of the exports of other stacks that the function's layers are imported from, with ``*`` for unknown parts."""
    unknown: tuple[UnknownSetting, ...] = ()
    """Why the runtime, the architecture or layers are unknown, except those in *imports*."""

    @property
    def label(self) -> str:
        """The name for messages."""
        return self.construct or self.name

    @cached_property
    def names(self) -> frozenset[str]:
        """The names under which the function can be configured."""
        construct = re.sub(r"[^A-Za-z0-9_-]", "", (self.construct or "").rpartition("/")[2])
        return frozenset({self.name, valid_function_name(self.name), construct} - {""})

    @cached_property
    def claimed_names(self) -> frozenset[str]:
        """The *names*, and that of the zip with the function's code."""
        content = PurePosixPath(self.content or "")
        return self.names | {content.stem} if content.suffix == ".zip" else self.names


@frozen
class LayerExport:
    """An output of a stack that exports the ARN of one of its layers to other stacks."""

    name: str
    """The name of the export, with ``*`` for unknown parts."""
    layer: str
    """The name of the layer in the description."""
    origin: Origin


@frozen
class Skipped:
    """Something that lamina does not take over, with the reason."""

    name: str
    """The name of the function, layer, file or setting."""
    reason: str
    """Why it is skipped, such as ``runtime nodejs22.x is not Python``."""
    origin: Origin


@frozen
class Translation:
    """A setting of the description for packaging, and what takes its place in lamina."""

    setting: str
    """The setting as the tool writes it, such as ``custom.pythonRequirements.slim``."""
    replacement: str
    """One sentence that tells what to do, such as ``set `exclude` for the layer``."""
    origin: Origin
    configuration: tuple[tuple[str, object], ...] = ()
    """The keys of ``[tool.lamina]`` that express the setting, as pairs of key and TOML value; empty if there are none."""


@frozen
class Template:
    """Everything that lamina takes from one deploy description."""

    tool: Tool
    path: str
    """The main file, or the directory for Terraform, relative to the project."""
    functions: tuple[TemplateFunction, ...] = ()
    """The Python functions, in the order of the description."""
    layers: tuple[TemplateLayer, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    translations: tuple[Translation, ...] = ()
    includes: tuple[str, ...] = ()
    """The nested templates and the directories of local modules that this description includes, relative to the project."""
    deployed: tuple[Deployed, ...] = ()
    """The Python functions and the layers as they are deployed, also those that lamina does not build."""
    exports: tuple[LayerExport, ...] = ()


@frozen
class TemplateAnswer:
    """A `Template`, and the state of the files and directories that it was read from."""

    template: Template
    inputs: Snapshot
