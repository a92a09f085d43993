"""``lamina pin``: pin the layers by ARN that lamina does not build."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from lamina.aws.external.pin import Pinning
    from lamina.cli.console import Console
    from lamina.project.pinned import PinnedLayer

HELP = (
    "Download the layers in `layer-arns` of your functions, and record their hash, size and modules in `lamina-layers.lock`. "
    "Builds and checks then know what these layers contain, without AWS, and functions that you run locally have them. "
    "A layer that is pinned already is not downloaded again."
)
EXAMPLE = """\
examples:
  lamina pin                # pin new layers, and remove the pins of layers that no function has
  lamina pin arn:aws:lambda:eu-west-1:017000801446:layer:AWSLambdaPowertoolsPythonV3-python313-x86_64:7    # compare one with AWS
"""
PAGE = "reference/pinned-layers.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``lamina pin`` to *parser*."""
    parser.add_argument(
        "arns",
        nargs="*",
        metavar="ARN",
        help="pin only this layer version; if it is pinned, compare it with AWS (default: all that are not pinned)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Pin the layers and print what they contain."""
    from lamina.aws.external.pin import pin_layers
    from lamina.cli.console import Console, emit_json
    from lamina.cli.options import project_of
    from lamina.core.store import Store
    from lamina.project.config import load
    from lamina.project.pinned import LOCK_NAME

    project = project_of(arguments)
    store = Store.open()
    with Console.of(arguments) as console, store.in_use(console):
        done = pin_layers(load(project, store=store), arguments.arns, store, reporter=console)
    if arguments.json:
        document = {
            "version": "1",
            "file": LOCK_NAME,
            "layers": [pin.document() | {"added": pin.arn in done.added} for pin in done.pins],
            "removed": list(done.removed),
            "skipped": [each.arn for each in done.skipped],
        }
        if done.error is not None:
            done.error.report = document
            raise done.error
        emit_json(document)
        return 0
    _tell(done, arguments.arns, console)
    return 0


def _tell(done: Pinning, arns: Sequence[str], console: Console) -> None:
    """Print the result of pinning *arns*, or all layers if there are none. Raises its error, after all that was done nevertheless."""
    for each in done.skipped:
        console.note(f"`{each.arn}` is not pinned: {each.reason}")
    for arn in done.removed:
        console.say(f"removed {arn}: no function has it")
    for pin in done.pins:
        if pin.arn in done.added:
            console.say(f"pinned {pin.arn}", *(f"  {line}" for line in _described(pin)))
    for arn in done.compared:
        console.say(f"unchanged {arn}: AWS has the pinned content")
    if done.pins and (done.added or done.removed):
        console.say("wrote `lamina-layers.lock`; commit it")
    if done.error is not None:
        raise done.error
    if not done.pins:
        console.say("no function has a layer by ARN that can be pinned")
    elif not done.added and not done.removed and not arns:
        console.say("nothing to do: `lamina-layers.lock` has all layers by ARN")


def _described(pin: PinnedLayer) -> list[str]:
    from lamina.core.text import count, megabytes
    from lamina.pipeline.checks.common import listed

    contents = pin.contents
    modules = [*contents.modules, *(module for _, names in contents.site_modules for module in names)]
    lines = [f"{megabytes(pin.code_size)} zipped, {megabytes(contents.unzipped_bytes)} unzipped"]
    if modules:
        lines.append(f"{count(len(modules), 'module')}: {listed(modules)}")
    if contents.extensions:
        lines.append(f"{count(len(contents.extensions), 'extension')}: {listed(contents.extensions)}")
    if pin.license is not None:
        lines.append(f"licence: {pin.license}")
    return lines
