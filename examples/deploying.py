"""
Publish and deploy a copy of the example to an emulated AWS on this machine; ``lamina sandbox`` runs this program.

``deploying.py PROJECT {invoke|no-invoke}``
"""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import boto3

BUCKET = "artifacts"
ROLE = "arn:aws:iam::000000000000:role/orders"
INVOKED = ("create-order", "render-invoice")
# An older release than the one in the example's lock file, with the SHA-256 of its only wheel. The demo updates it to the locked one.
OLDER = ("certifi", "2025.8.3", "f6c12493cfb1b06ba2ff328595af9350c65d6644968e5d3a2ffd78699af217a5")
# Besides a layer, the bucket stores its index, so that machines without the wheels can publish the layer: less than 1 % of its size.
_WITH_DIRECTORY = 1.01
SETTINGS = f"""
[tool.lamina.publish]
bucket = "{BUCKET}"

[tool.lamina.deploy]
alias = "live"
"""


@dataclass
class Step:
    """The bytes that one deployment sent, and the bytes that other ways of deploying would send."""

    name: str
    sent: int
    zip_per_function: int
    layer_per_deploy: int


class Demo:
    """A series of deployments of one project."""

    def __init__(self, project: Path, *, invoke: bool) -> None:
        self.project = project
        self.invoke = invoke
        self.steps: list[Step] = []
        self.functions = boto3.client("lambda")

    def run(self) -> int:
        """Run all deployments, and return 0 if they succeeded."""
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        lock = self.project / "requirements.txt"
        current = lock.read_text("utf-8")
        lock.write_text(older(current), "utf-8")
        say(f"\nFirst deployment, with {OLDER[0]} {OLDER[1]} in the lock file:")
        first = self.deploy("first", "--create", "--role", ROLE)
        if first is None or not self.answers():
            return 1
        say("\nDeploying again without changes:")
        again = self.deploy("nothing changed")
        if again is None:
            return 1
        say("\nAfter changing code:")
        with (self.project / "service" / "handlers" / "health.py").open("a", encoding="utf-8") as file:
            file.write("# changed\n")
        code = self.deploy("code changed")
        if code is None:
            return 1
        say(f"\nAfter updating {OLDER[0]}:")
        lock.write_text(current, "utf-8")
        bump = self.deploy("1 wheel updated")
        if bump is None or not self.answers():
            return 1
        self.compare()
        return self.judge(first, again, code, bump)

    def deploy(self, name: str, *options: str) -> Step | None:
        """Run ``lamina deploy``, and return the bytes that it sent, or ``None`` if it failed."""
        words = ["deploy", "--project", str(self.project), *options]
        say(f"$ lamina {' '.join(words[:1] + list(options))}")
        command = [sys.executable, "-m", "lamina", *words, "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            say(f"FAILED: exit code {done.returncode}")
            return None
        report = json.loads(done.stdout)
        build = json.loads((self.project / ".lamina" / "build.json").read_text("utf-8"))
        layers = sum(each["zipped_bytes"] for each in build["layers"])
        packages = [each["zipped_bytes"] for each in build["functions"]]
        changed = any(each["change"] for each in report["layers"] + report["functions"])
        step = Step(
            name,
            sent=sum(each["sent_bytes"] for each in report["layers"] + report["functions"]),
            zip_per_function=sum(size + layers for size in packages) if changed else 0,
            layer_per_deploy=layers + (sum(packages) if changed else 0),
        )
        self.steps.append(step)
        return step

    def answers(self) -> bool:
        """Invoke functions through their alias, and return whether they return the expected answers."""
        if not self.invoke:
            return True
        expected = json.loads((self.project / "events" / "expected.json").read_text("utf-8"))
        good = True
        for name in INVOKED:
            event = (self.project / "events" / f"{name}.json").read_bytes()
            response = self.functions.invoke(FunctionName=f"orders-{name}:live", Payload=event)
            answer = json.loads(response["Payload"].read())
            right = isinstance(answer, dict) and expected[name].items() <= answer.items()
            say(
                f"  invoked orders-{name}:live, version {response.get('ExecutedVersion', '?')}: "
                f"{answer.get('statusCode') if right else f'FAILED: {answer}'}"
            )
            good = good and right
        return good

    def compare(self) -> None:
        """Show the bytes of all deployments, compared with other ways of deploying."""
        say("\nuploaded              lamina   zip per function   layer per deploy")
        for step in self.steps:
            row = (step.sent, step.zip_per_function, step.layer_per_deploy)
            lamina, zips, layer = (f"{size / 1e6:,.2f} MB" for size in row)
            say(f"  {step.name:16}{lamina:>10}{zips:>19}{layer:>19}")
        say(
            "The other two columns are computed from the sizes of this build. `zip per function`: after any change, a zip with all"
        )
        say(
            "dependencies for every function. `layer per deploy`: the whole layer each time, and after any change all code."
        )
        say(
            "lamina's first deployment also uploads an index, so that machines without the wheels can publish the layer."
        )

    def judge(self, first: Step, again: Step, code: Step, bump: Step) -> int:
        """Return 1 if a deployment sent more than what had changed."""
        versions = len(self.functions.list_layer_versions(LayerName="orders-common")["LayerVersions"])
        wrong = [
            words
            for words, bad in (
                (
                    "the first deployment sent more than the layer, its index and the code",
                    first.sent > first.layer_per_deploy * _WITH_DIRECTORY,
                ),
                ("a deployment without changes sent something", again.sent > 0),
                ("a change of code sent a large part of the layer", code.sent * 10 > code.layer_per_deploy),
                (
                    "an update of one small wheel sent more than half of the layer",
                    bump.sent * 2 > bump.layer_per_deploy,
                ),
                (f"expected 2 layer versions, got {versions}", versions != 2),
            )
            if bad
        ]
        for words in wrong:
            say(f"FAILED: {words}")
        return 1 if wrong else 0


def older(lock: str) -> str:
    """Return the text of the lock file *lock* with the release in `OLDER`."""
    name, version, sha256 = OLDER
    text, count = re.subn(
        rf"(?m)^{name}==.*\\\n(?:    --hash=sha256:\w+(?: \\)?\n)+",
        f"{name}=={version} \\\\\n    --hash=sha256:{sha256}\n",
        lock,
    )
    if count != 1:
        sys.exit(f"the example's lock file does not contain {name}")
    return text


def say(words: str) -> None:
    """Print *words* without buffering, so that they appear in order with the output of subprocesses."""
    print(words, flush=True)


if __name__ == "__main__":
    sys.exit(Demo(Path(sys.argv[1]), invoke=sys.argv[2] == "invoke").run())
