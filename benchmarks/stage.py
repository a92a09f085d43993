"""What all ways of deploying the example share: what is deployed, where, and whether it is there afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.cloud import ROLE, Cloud
from benchmarks.states import CURRENT, States

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.bench import Bench
    from benchmarks.values import Runner, Sample
    from lamina.core.values import Build, Package

__all__ = ["Stage"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """What all ways of deploying share."""

    bench: Bench
    cloud: Cloud
    states: States
    builds: Mapping[str, Build]
    """The example as it was built in each state."""

    @classmethod
    def of(cls, bench: Bench) -> Stage:
        """
        Build the example in all its states, and start the AWS.

        Raises LaminaError where there can be none.
        """
        cloud, states = Cloud.of(bench), States(bench)
        return cls(bench=bench, cloud=cloud, states=states, builds=states.build())

    @property
    def packages(self) -> tuple[Package, ...]:
        """The functions of the example."""
        return self.builds[CURRENT].packages

    def function_name(self, package: Package) -> str:
        """Return what a function is called in Lambda."""
        return f"{self.builds[CURRENT].service}-{package.name}"

    @property
    def layer(self) -> str:
        """What the layer is called there."""
        [layer] = self.builds[CURRENT].layers
        return f"{self.builds[CURRENT].service}-{layer.name}"

    def script(self, lines: Sequence[str], runner: Runner) -> Sample:
        """Measure a shell script."""
        return self.cloud.measure(runner, self.bench.command("sh", "-ec", "\n".join(lines), more=self.cloud.far))

    def make_functions(self) -> None:
        """Make all functions as they were before, with their code only."""
        functions = self.cloud.client("lambda")
        for package in self.packages:
            functions.create_function(
                FunctionName=self.function_name(package),
                Runtime=self.bench.target.runtime,
                Handler=package.handler,
                Role=ROLE,
                Code={"ZipFile": package.path.read_bytes()},
            )

    def verify(self, code: Mapping[str, str], *, layer_versions: int, qualifier: str = "$LATEST") -> None:
        """
        Raise RuntimeError unless each function has the *code* that is wanted, by name, and the newest layer version.

        *layer_versions* is how many there have to be.
        """
        functions = self.cloud.client("lambda")
        versions = functions.list_layer_versions(LayerName=self.layer)["LayerVersions"] if layer_versions else []
        if len(versions) != layer_versions:
            raise RuntimeError(f"there are {len(versions)} layer versions instead of {layer_versions}")
        layers = [max(versions, key=lambda version: int(version["Version"]))["LayerVersionArn"]] if versions else []
        for name, sha256 in code.items():
            found = functions.get_function_configuration(FunctionName=name, Qualifier=qualifier)
            if found["CodeSha256"] != sha256:
                raise RuntimeError(f"`{name}` does not have the code that was deployed")
            if [layer["Arn"] for layer in found.get("Layers", ())] != layers:
                raise RuntimeError(f"`{name}` does not have the layer that was deployed")

    def code(self, build: Build) -> Mapping[str, str]:
        """Return the SHA-256 of each function's code, as Lambda words it."""
        return {self.function_name(package): package.code_sha256 for package in build.packages}
