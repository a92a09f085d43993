"""
Measure deploying the example with scripts that call the AWS command line, from artifacts built by lamina.

The scripts send the same bytes for every change. So there is one row for the first deployment and one for all later ones.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from typing import TYPE_CHECKING

from benchmarks.cloud import BUCKET, ROLE
from benchmarks.states import CURRENT, fat_zip
from benchmarks.tools import MissingToolError, tool
from benchmarks.values import Row, Unavailable
from lamina.core.values import code_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.stage import Stage
    from lamina.core.values import Package

__all__ = ["rows"]

_QUICK_FUNCTIONS = 2
_ONLY_ARN = "--query LayerVersionArn --output text"


def rows(stage: Stage) -> Sequence[Row | Unavailable]:
    """Return the rows of two scripts: one uploads the whole layer each time, the other a zip with all dependencies for each function."""
    try:
        aws = shlex.quote(str(tool(stage.bench, "awscli", "aws")))
    except MissingToolError as error:
        return [Unavailable(name="deploy-scripts", title="scripts with the AWS command line", reason=str(error))]
    return [*_layer_each_time(stage, aws), *_zip_per_function(stage, aws)]


def _layer_each_time(stage: Stage, aws: str) -> Sequence[Row]:
    build = stage.builds[CURRENT]
    [layer] = build.layers
    content = f"S3Bucket={BUCKET},S3Key=layer.zip"
    publish = [
        f"{aws} s3 cp --only-show-errors {shlex.quote(str(layer.path))} s3://{BUCKET}/layer.zip",
        f"layer=$({aws} lambda publish-layer-version --layer-name {stage.layer} --content {content} {_ONLY_ARN})",
    ]
    create, update = list(publish), list(publish)
    for package in build.packages:
        name, code = stage.function_name(package), shlex.quote(f"fileb://{package.path}")
        create.append(f"{_create(stage, aws, package)} --zip-file {code} --layers $layer")
        update += [
            f"{aws} lambda update-function-code --function-name {name} --zip-file {code}",
            # Lambda rejects the next change until this one is complete.
            f"{aws} lambda wait function-updated-v2 --function-name {name}",
            f"{aws} lambda update-function-configuration --function-name {name} --layers $layer",
        ]
    return [
        _script_row(
            stage,
            f"deploy-layer-{name}",
            f"aws, layer each time, {name}",
            lines,
            lambda: stage.verify(stage.code(build), layer_versions=1),
        )
        for name, lines in (("first", create), ("again", update))
    ]


def _zip_per_function(stage: Stage, aws: str) -> Sequence[Row]:
    packages = stage.packages
    note = ""
    if stage.bench.quick:
        note = f" ({_QUICK_FUNCTIONS} of {len(packages)}: x{len(packages) / _QUICK_FUNCTIONS:g} for all)"
        packages = packages[:_QUICK_FUNCTIONS]
    zips = _fat_zips(stage, packages)
    create, update, code = [], [], {}
    for package, path in zip(packages, zips, strict=True):
        name = stage.function_name(package)
        place = f"S3Bucket={BUCKET},S3Key={path.name}"
        upload = f"{aws} s3 cp --only-show-errors {shlex.quote(str(path))} s3://{BUCKET}/{path.name}"
        create += [upload, f"{_create(stage, aws, package)} --code {place}"]
        there = place.replace("S3Bucket=", "--s3-bucket ").replace(",S3Key=", " --s3-key ")
        update += [upload, f"{aws} lambda update-function-code --function-name {name} {there}"]
        code[name] = code_sha256(_sha256(path))
    return [
        _script_row(
            stage,
            f"deploy-zips-{name}",
            f"aws, zip per function, {name}{note}",
            lines,
            lambda: stage.verify(code, layer_versions=0),
        )
        for name, lines in (("first", create), ("again", update))
    ]


def _script_row(stage: Stage, name: str, title: str, lines: Sequence[str], verify: Callable[[], None]) -> Row:
    def prepare() -> None:
        stage.cloud.renew()
        if name.endswith("again"):
            stage.make_functions()

    return Row(
        name=name,
        title=title,
        run=lambda run: stage.script(lines, run),
        prepare=prepare,
        verify=verify,
        once=True,
    )


def _create(stage: Stage, aws: str, package: Package) -> str:
    return (
        f"{aws} lambda create-function --function-name {stage.function_name(package)} --role {ROLE}"
        f" --runtime {stage.bench.target.runtime} --handler {package.handler}"
    )


def _fat_zips(stage: Stage, packages: Sequence[Package]) -> Sequence[Path]:
    """Return for each of *packages* a zip with its dependencies; packages with the same content share one zip."""
    directory = stage.bench.work / "fat"
    directory.mkdir(exist_ok=True)
    layers = tuple(layer.path for layer in stage.builds[CURRENT].layers)
    made: dict[str, Path] = {}
    paths = []
    for package in packages:
        path = directory / f"{package.name}.zip"
        if package.sha256 in made:
            os.link(made[package.sha256], path)
        else:
            fat_zip(layers, package.path, path)
            made[package.sha256] = path
        paths.append(path)
    return paths


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
