"""
Find the deploy descriptions of a repository.

SAM, CloudFormation and Serverless descriptions are recognised by their usual names, or by what the beginning of the file says;
Terraform by ``*.tf``; CDK apps by ``cdk.json``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lamina.core.errors import TemplateError
from lamina.core.frozen import frozen
from lamina.project.templates.types import Origin, Skipped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lamina.project.templates.files import TemplateFiles

_SERVERLESS = ("serverless.yml", "serverless.yaml", "serverless.json")
_SERVERLESS_PROGRAMS = ("serverless.ts", "serverless.js", "serverless.mjs", "serverless.cjs")
_TEMPLATE_SUFFIXES = (".yaml", ".yml", ".json", ".template")
_USUAL_NAMES = ("template.", "sam.")
_HEAD_BYTES = 16_384
_LARGEST_HEAD_BYTES = 1_000_000
# A template has one of these keys at the top, which other files that mention functions have not.
_CLOUDFORMATION_HEAD = re.compile(rb'^[ \t{]*"?(?:AWSTemplateFormatVersion|Transform|Resources)"?[ \t]*:', re.MULTILINE)
_CLOUDFORMATION = re.compile(rb"AWS::(?:Serverless(?:::|-)|Lambda::Function|CloudFormation::Stack)")
_PLAN_HEAD = re.compile(rb'^\s*\{\s*"format_version"')
_TERRAFORM = re.compile(
    rb"aws_lambda_function|terraform-aws-lambda|terraform-aws-modules/lambda|^[ \t]*module[ \t]", re.MULTILINE
)


@frozen
class Description:
    """A file or directory that describes a deployment."""

    kind: str
    """A key of `lamina.project.templates.answers.READERS`, or ``cdk-app`` for a CDK app that has not been synthesized."""
    path: str
    """The path relative to the root."""


@frozen
class FoundDescriptions:
    """The deploy descriptions of a repository."""

    descriptions: tuple[Description, ...]
    """The descriptions, those in the upper directories first."""
    skipped: tuple[Skipped, ...]
    """Descriptions that lamina cannot read."""


def find(files: TemplateFiles) -> FoundDescriptions:
    """Return the deploy descriptions below the root of *files*, except in directories that git or a rule leaves out."""
    directories: dict[str, list[str]] = {}
    for path in files.paths:
        directory, _, name = path.rpartition("/")
        directories.setdefault(directory, []).append(name)
    found: list[Description] = []
    skipped: list[Skipped] = []
    for directory in sorted(directories, key=lambda path: (path.count("/") + bool(path), path)):
        here = _in_directory(directory, directories[directory], files)
        found += here.descriptions
        skipped += here.skipped
    return FoundDescriptions(descriptions=tuple(found), skipped=tuple(skipped))


def find_in_root(files: TemplateFiles) -> FoundDescriptions:
    """Return the deploy descriptions in the root directory of *files* itself, and observe every file that may become one."""
    for name in files.names("."):
        if name.endswith((*_TEMPLATE_SUFFIXES, ".tf")):
            files.is_file(name)
    return _in_directory("", files.names("."), files)


def describe(path: str, files: TemplateFiles) -> Description:
    """
    Return the description at *path*, a file or directory that the user names.

    Raises `TemplateError` if it is missing, or none that lamina reads.
    """
    if files.is_directory(path):
        found = _in_directory("" if path == "." else path, files.names(path), files).descriptions
        if "manifest.json" in files.names(path):
            return Description(kind="cdk", path=path)
        if len(found) == 1:
            return found[0]
        what = ", ".join(f"`{each.path}`" for each in found)
        raise TemplateError(f"`{path}` has several deploy descriptions: {what}" if found else _none(path))
    directory, _, name = path.rpartition("/")
    if not files.is_file(path):
        raise TemplateError(
            f"no file or directory `{path}`", hint="pass the path of a template, relative to the project"
        )
    if name.endswith((".tf", ".tf.json")):
        return Description(kind="terraform", path=directory or ".")
    kind = _kind(path, name, files)
    if kind is None and name.endswith(_TEMPLATE_SUFFIXES):
        # The user says that it is a template. The reader tells what is wrong with it.
        kind = "cloudformation"
    if kind is None:
        raise TemplateError(
            _none(path),
            hint="pass a template of SAM, CloudFormation or the Serverless Framework, a Terraform directory or plan, or `cdk.out`",
        )
    return Description(kind=kind, path=path)


def _none(path: str) -> str:
    return f"`{path}` is not a deploy description that lamina reads"


def _in_directory(directory: str, names: Iterable[str], files: TemplateFiles) -> FoundDescriptions:
    found: list[Description] = []
    skipped: list[Skipped] = []
    names = sorted(names)
    start = f"{directory}/" if directory else ""
    plans: list[Description] = []
    for name in names:
        path = start + name
        if name in _SERVERLESS_PROGRAMS:
            reason = "it is a program; lamina reads `serverless.yml`, `serverless.yaml` and `serverless.json`"
            skipped.append(Skipped(name=path, reason=reason, origin=Origin(file=path)))
        elif name == "cdk.json":
            output = f"{start}cdk.out"
            is_synthesized = files.is_file(f"{output}/manifest.json")
            found.append(
                Description(kind="cdk", path=output) if is_synthesized else Description(kind="cdk-app", path=path)
            )
        elif (kind := _kind(path, name, files)) == "terraform-plan":
            plans.append(Description(kind=kind, path=path))
        elif kind is not None:
            found.append(Description(kind=kind, path=path))
    if any(_is_terraform(start + name, files) for name in names if name.endswith((".tf", ".tf.json"))):
        found.append(Description(kind="terraform", path=directory or "."))
    elif not any(name.endswith((".tf", ".tf.json")) for name in names):
        found += plans
    return FoundDescriptions(descriptions=tuple(found), skipped=tuple(skipped))


def _kind(path: str, name: str, files: TemplateFiles) -> str | None:
    """Return the kind of the file *path*, or ``None`` if it does not describe a deployment."""
    if name in _SERVERLESS:
        return "serverless"
    if not name.endswith(_TEMPLATE_SUFFIXES) or name.endswith(".tf.json"):
        return None
    # A file with a usual name may begin with a long comment.
    size = _LARGEST_HEAD_BYTES if name.startswith(_USUAL_NAMES) else _HEAD_BYTES
    head = files.head(path, size)
    if name.endswith(".json") and _PLAN_HEAD.search(head) is not None:
        return "terraform-plan"
    if _CLOUDFORMATION_HEAD.search(head) is not None:
        if len(head) < size and _CLOUDFORMATION.search(head) is None:
            return None
        return "cloudformation"
    return None


def _is_terraform(path: str, files: TemplateFiles) -> bool:
    return _TERRAFORM.search(files.head(path, 1_000_000)) is not None
