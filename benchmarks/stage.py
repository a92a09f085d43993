"""The builds, the emulated AWS and the verification that all ways of deploying the example share."""

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
    """The builds of the example and the emulated AWS to deploy them to."""

    bench: Bench
    cloud: Cloud
    states: States
    builds: Mapping[str, Build]
    """The example's build in each state, by the state's name."""

    @classmethod
    def of(cls, bench: Bench) -> Stage:
        """
        Build the example in all its states, and start the emulated AWS.

        Raises `LaminaError` if the emulator cannot be installed or started.
        """
        cloud, states = Cloud.of(bench), States(bench)
        return cls(bench=bench, cloud=cloud, states=states, builds=states.build())

    @property
    def packages(self) -> tuple[Package, ...]:
        """The function packages of the example."""
        return self.builds[CURRENT].packages

    def function_name(self, package: Package) -> str:
        """Return the name in Lambda of the function with *package*."""
        return f"{self.builds[CURRENT].service}-{package.name}"

    @property
    def layer(self) -> str:
        """The layer's name in Lambda."""
        [layer] = self.builds[CURRENT].layers
        return f"{self.builds[CURRENT].service}-{layer.name}"

    def script(self, lines: Sequence[str], runner: Runner) -> Sample:
        """Run the shell script *lines* over the slow line, and return its sample."""
        return self.cloud.measure(runner, self.bench.command("sh", "-ec", "\n".join(lines), more=self.cloud.far))

    def make_functions(self) -> None:
        """Create all functions with their code, but without layers, as the state before a deployment."""
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
        Raise `RuntimeError` unless each function has its code and the newest layer version.

        *code* maps function names to the expected SHA-256. *layer_versions* is the expected number of layer versions.
        """
        functions = self.cloud.client("lambda")
        versions = functions.list_layer_versions(LayerName=self.layer)["LayerVersions"] if layer_versions else []
        if len(versions) != layer_versions:
            raise RuntimeError(f"expected {layer_versions} layer versions, got {len(versions)}")
        layers = [max(versions, key=lambda version: int(version["Version"]))["LayerVersionArn"]] if versions else []
        for name, sha256 in code.items():
            found = functions.get_function_configuration(FunctionName=name, Qualifier=qualifier)
            if found["CodeSha256"] != sha256:
                raise RuntimeError(f"`{name}` does not have the code that was deployed")
            if [layer["Arn"] for layer in found.get("Layers", ())] != layers:
                raise RuntimeError(f"`{name}` does not have the layer that was deployed")

    def code(self, build: Build) -> Mapping[str, str]:
        """Return the SHA-256 of each function's code in base64, as Lambda reports it, by the function's name in Lambda."""
        return {self.function_name(package): package.code_sha256 for package in build.packages}
