"""Deploy the functions of one service to all configured accounts and regions: plan every destination, then apply every plan."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lamina.aws.deploy import config as deployconfig
from lamina.aws.deploy.apply import Deployment, DeployOutcome, Progress, previous_version
from lamina.aws.deploy.claim import Claim, Turns
from lamina.aws.deploy.external import refuse_external
from lamina.aws.deploy.function_change import Patience
from lamina.aws.deploy.plan import CreateFunction
from lamina.aws.deploy.present import PresentLayers
from lamina.aws.deploy.report import PlaceOutcome, deployed_rows, planned_rows
from lamina.aws.deploy.survey import desired_functions, replan, survey
from lamina.aws.destination.destination import attempt, everywhere
from lamina.aws.publish import config as publishconfig
from lamina.aws.publish import report
from lamina.aws.publish.apply import publish
from lamina.aws.publish.plan import KeepLayer
from lamina.aws.publish.survey import survey as survey_layers
from lamina.core.errors import ConfigError, InvalidConfigError, StoppedError
from lamina.core.reporter import SILENT
from lamina.project.table import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from lamina.aws.deploy.claim import ClaimTimes
    from lamina.aws.deploy.config import DeployConfig
    from lamina.aws.deploy.function_change import Creation
    from lamina.aws.deploy.plan import DesiredFunction
    from lamina.aws.deploy.survey import FunctionStep
    from lamina.aws.destination.destination import Destination
    from lamina.aws.publish.apply import Published, PublishOutcome
    from lamina.aws.publish.config import PublishConfig
    from lamina.aws.publish.desired import DesiredLayer
    from lamina.aws.publish.survey import LayerStep
    from lamina.aws.publish.zip_source import LayerJob
    from lamina.core.errors import LaminaError
    from lamina.core.reporter import Reporter
    from lamina.core.values import Build
    from lamina.project.service import Service


def load(project: Path) -> tuple[PublishConfig, DeployConfig]:
    """Return the publishing and deployment configuration of *project*. Raises `InvalidConfigError` listing every mistake in both."""
    try:
        publishing = publishconfig.load(project)
    except InvalidConfigError as error:
        try:
            deployconfig.load(project)
        except InvalidConfigError as further:
            raise InvalidConfigError(file=error.file, mistakes=(*error.mistakes, *further.mistakes)) from error
        raise
    return publishing, deployconfig.load(project)


def select(built: Build, names: Sequence[str]) -> Build:
    """
    Return *built* with only the packages of the functions *names*, or of all functions if *names* is empty.

    Raises `ConfigError` if a name is unknown.
    """
    known = [package.name for package in built.packages]
    if unknown := [f"`{name}`{did_you_mean(name, known)}" for name in names if name not in known]:
        raise ConfigError(
            f"the service has no function {' and no function '.join(unknown)}",
            hint=f"available functions: {', '.join(f'`{name}`' for name in known) or 'none'}",
        )
    return replace(built, packages=tuple(each for each in built.packages if not names or each.name in names))


@dataclass(frozen=True, kw_only=True)
class ServiceDeployment:
    """The functions of one service, with the settings for deploying them."""

    build: Build
    layers: tuple[DesiredLayer, ...]
    config: DeployConfig
    creation: Creation | None
    directory: Path
    """The directory for copies of the functions' old code."""
    names: tuple[str, ...] = ()
    """The names in Lambda of all functions of the service, of which `build` may have only some."""
    bundled: frozenset[str] = frozenset()
    """The names in Lambda of the layers that only the zips of functions contain. Functions that still have one lose it."""
    service: Service | None = None
    """The configured service, with its pins, which decides whether functions may have layers of other accounts; ``None`` if they may."""
    reporter: Reporter = SILENT
    claim_times: ClaimTimes | None = None
    patience: Patience | None = None
    """How to wait for changes of functions; ``None`` for the configured time limits."""

    def plan(self, jobs: Sequence[LayerJob], destinations: Sequence[Destination], *, create: bool) -> ServicePlan:
        """
        Return the plan for all *destinations*. With *create*, functions that do not exist are created.

        Raises `AwsError` if a call fails, and `DeployError` listing every problem that prevents the deployment, such as a missing
        function without *create*.
        """
        layer_steps = survey_layers(jobs, destinations)

        def plan_destination(destination: Destination) -> tuple[FunctionStep, ...]:
            steps = [step for step in layer_steps if step.destination is destination]
            versions = {
                step.desired.name: step.action.version.arn for step in steps if isinstance(step.action, KeepLayer)
            }
            return self.survey(destination, self.desired(destination, versions), create=create)

        return ServicePlan(deployment=self, layers=layer_steps, functions=everywhere(plan_destination, destinations))

    def survey(
        self,
        destination: Destination,
        desired: Sequence[DesiredFunction],
        *,
        create: bool,
        earlier: Sequence[FunctionStep] = (),
    ) -> tuple[FunctionStep, ...]:
        """
        Return the plan for the *desired* functions in *destination*. *earlier* is an earlier plan of them.

        Raises the errors of `lamina.aws.deploy.survey.survey`, and `CheckFailedError` for layers of other accounts that the service's
        configuration does not allow.
        """
        directory = self.directory_of(destination)
        directory.mkdir(parents=True, exist_ok=True)
        steps = survey(
            destination.services.functions,
            PresentLayers(destination.services, self.build.service),
            desired,
            {package.name: package for package in self.build.packages},
            config=self.config,
            create=create,
            directory=directory,
            has_bucket=destination.bucket is not None,
            earlier=earlier,
        )
        if self.service is not None:
            refuse_external((step.action for step in steps), self.service, account=destination.services.account.id)
        return steps

    def claim(self, destination: Destination, steps: Sequence[FunctionStep]) -> Claim:
        """Return the claim to the service's functions in *destination*, for which *steps* are planned. It is not held yet."""
        return Claim(
            destination.services.functions,
            {*self.names, *(step.action.desired.name for step in steps)},
            existing={step.action.desired.name for step in steps if not isinstance(step.action, CreateFunction)},
            stop=destination.stop,
            reporter=self.reporter,
            times=self.claim_times,
        )

    def deployment(self, destination: Destination, steps: Sequence[FunctionStep], claim: Claim) -> Deployment:
        """Return the deployment of *steps* in *destination*, which *claim* protects from other deployers."""
        return Deployment(
            destination.services.functions,
            steps,
            directory=self.directory_of(destination),
            bucket=destination.bucket,
            claim=claim,
            creation=self.creation,
            patience=self.patience or _patience(self.config.wait_seconds),
            stop=destination.stop,
            reporter=self.reporter,
        )

    def desired(self, destination: Destination, versions: Mapping[str, str]) -> tuple[DesiredFunction, ...]:
        """Return the desired functions in *destination*; *versions* maps the name of each published layer to its version's ARN."""
        sizes = {} if self.service is None else self.service.external_bytes
        return desired_functions(
            self.build,
            self.layers,
            versions,
            self.config,
            destination.services.account,
            sizes=sizes,
            bundled=self.bundled,
        )

    def directory_of(self, destination: Destination) -> Path:
        """Return the directory for copies of the old code in *destination*."""
        return self.directory / destination.services.account.id / destination.services.account.region


@dataclass(frozen=True, kw_only=True)
class ServicePlan:
    """The planned changes to the layers and functions of a service."""

    deployment: ServiceDeployment
    layers: tuple[LayerStep, ...]
    functions: Mapping[Destination, tuple[FunctionStep, ...]]

    @property
    def is_change(self) -> bool:
        """Whether the plan changes anything."""
        functions = (step.action.is_change for steps in self.functions.values() for step in steps)
        return any(functions) or any(step.action.is_change for step in self.layers)

    def document(self) -> dict[str, object]:
        """Return the plan as a JSON document."""
        rows = [
            row
            for destination, steps in self.functions.items()
            for row in planned_rows(steps, destination.services.account)
        ]
        return report.plan_document(self.deployment.build.service, self.layers) | {"functions": rows}

    def apply(self) -> ServiceOutcome:
        """
        Publish the layers, then deploy the functions. Return the outcome at every destination; errors are in it, not raised.

        If a layer cannot be published at one destination, no function is changed at any. Published layer versions stay if a function
        cannot be deployed. A destination at which the deployment fails is rolled back; the others keep their new functions.
        """
        published = publish(self.layers, reporter=self.deployment.reporter)
        if published.error is not None:
            error = published.error
            if isinstance(error, StoppedError):
                error = StoppedError(f"{error}; no function was changed")
            return self._outcome(published, {}, published.errors, error)
        deployments: dict[Destination, Deployment] = {}
        turns = Turns(destination.services.account for destination in self.functions)

        def deploy(destination: Destination) -> None:
            service = self.deployment
            with ExitStack() as stack:
                with turns.turn(destination.services.account):
                    versions = {
                        each.step.desired.name: each.version.arn
                        for each in published.published
                        if each.step.destination is destination
                    }
                    desired = service.desired(destination, versions)
                    steps = replan(self.functions[destination], desired, config=service.config)
                    # Without a change, there is nothing to claim.
                    is_ready = not any(step.action.is_change for step in steps)
                    claim = service.claim(destination, steps)
                    deployments[destination] = service.deployment(destination, steps, claim)
                    while not is_ready:
                        stack.enter_context(claim.hold())
                        if claim.is_held:
                            break
                        # No function exists. Of several deployers, the one that creates and claims the first one goes on.
                        deployments[destination] = service.deployment(destination, steps, claim)
                        is_ready = deployments[destination].begin(claim)
                        if not is_ready:
                            stack.close()
                            claim.retreat()
                if not is_ready:
                    # Since the plan, another deployer may have changed any of the functions, also one that the plan keeps.
                    create = service.creation is not None
                    steps = service.survey(destination, desired, create=create, earlier=steps)
                    deployments[destination] = service.deployment(destination, steps, claim)
                deployments[destination].run()

        try:
            attempted = attempt(deploy, self.functions)
        except KeyboardInterrupt:
            return self._outcome(published, deployments, {}, _abandoned(tuple(deployments.values())))
        return self._outcome(published, deployments, attempted.errors, attempted.error)

    def _outcome(
        self,
        published: PublishOutcome,
        deployments: Mapping[Destination, Deployment],
        errors: Mapping[Destination, LaminaError],
        error: LaminaError | None,
    ) -> ServiceOutcome:
        places = []
        for destination, steps in self.functions.items():
            deployment = deployments.get(destination)
            untouched = tuple(DeployOutcome(step=step, version=previous_version(step)) for step in steps)
            places.append(
                PlaceOutcome(
                    account=destination.services.account,
                    progress=Progress.UNTOUCHED if deployment is None else deployment.progress,
                    functions=untouched if deployment is None else deployment.outcomes(),
                    error=errors.get(destination),
                )
            )
        return ServiceOutcome(
            service=self.deployment.build.service, layers=published.published, places=tuple(places), error=error
        )


def _abandoned(deployments: Iterable[Deployment]) -> StoppedError:
    """Return the error for a second request to stop, which ends the process while *deployments* are being rolled back."""
    names = [f"`{name}`" for deployment in deployments for name in deployment.abandon()]
    if not names:
        return StoppedError("interrupted again; no function is half deployed")
    return StoppedError(
        f"interrupted again during the rollback; {'this function' if len(names) == 1 else 'these functions'} may have new code or "
        f"layers: {', '.join(dict.fromkeys(names))}",
        hint="finish the deployment: `lamina deploy`",
    )


def _patience(wait_seconds: int | None) -> Patience:
    return Patience() if wait_seconds is None else Patience(change_seconds=wait_seconds, version_seconds=wait_seconds)


@dataclass(frozen=True, kw_only=True)
class ServiceOutcome:
    """The results of publishing a service's layers and deploying its functions."""

    service: str
    layers: tuple[Published, ...]
    places: tuple[PlaceOutcome, ...]
    error: LaminaError | None = None
    """The errors of all places as one; ``None`` if everything was deployed."""

    def document(self) -> dict[str, object]:
        """Return the results as a JSON document."""
        return report.published_document(self.service, self.layers) | {
            "functions": [row for place in self.places for row in deployed_rows(place.functions, place.account)],
            "places": [report.place(place.account, place.outcome, place.error) for place in self.places],
        }
