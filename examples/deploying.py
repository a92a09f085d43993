"""
Publish and deploy a copy of the example to an AWS that is emulated on this machine; run by ``lamina sandbox``.

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
# An older release than the example's lock has, with the SHA-256 of its one wheel; the demo bumps from here to the lock.
OLDER = ("certifi", "2025.8.3", "f6c12493cfb1b06ba2ff328595af9350c65d6644968e5d3a2ffd78699af217a5")
# What the bucket keeps of a layer beside its bytes, so that machines without the wheels can publish it, is under a hundredth.
_WITH_DIRECTORY = 1.01
SETTINGS = f"""
[tool.lamina.publish]
bucket = "{BUCKET}"

[tool.lamina.deploy]
alias = "live"
"""


@dataclass
class Step:
    """What one deployment sent, and what other ways of shipping would have, in bytes."""

    name: str
    sent: int
    zip_per_function: int
    layer_per_deploy: int


class Demo:
    """The deployments of one project, one after the other."""

    def __init__(self, project: Path, *, invoke: bool) -> None:
        self.project = project
        self.invoke = invoke
        self.steps: list[Step] = []
        self.functions = boto3.client("lambda")

    def run(self) -> int:
        """Return 0 if everything went as it should."""
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        lock = self.project / "requirements.txt"
        current = lock.read_text("utf-8")
        lock.write_text(older(current), "utf-8")
        say(f"\nThe first deployment, of the lock with {OLDER[0]} {OLDER[1]}:")
        first = self.deploy("first", "--create", "--role", ROLE)
        if first is None or not self.answers():
            return 1
        say("\nAgain:")
        again = self.deploy("nothing changed")
        if again is None:
            return 1
        say("\nAfter a change of code:")
        with (self.project / "service" / "handlers" / "health.py").open("a", encoding="utf-8") as file:
            file.write("# changed\n")
        code = self.deploy("code changed")
        if code is None:
            return 1
        say(f"\nAfter bumping {OLDER[0]}:")
        lock.write_text(current, "utf-8")
        bump = self.deploy("one wheel bumped")
        if bump is None or not self.answers():
            return 1
        self.compare()
        return self.judge(first, again, code, bump)

    def deploy(self, name: str, *options: str) -> Step | None:
        """Run ``lamina deploy`` and remember what it sent; nothing if it failed."""
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
        """Invoke functions through their alias, and say whether they answer as their example says."""
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
        """Show all deployments beside what they would have sent otherwise."""
        say("\nuploaded              lamina   zip per function   layer per deploy")
        for step in self.steps:
            row = (step.sent, step.zip_per_function, step.layer_per_deploy)
            lamina, zips, layer = (f"{size / 1e6:,.2f} MB" for size in row)
            say(f"  {step.name:16}{lamina:>10}{zips:>19}{layer:>19}")
        say(
            "The other two are computed from the sizes of this build: every function's zip with all dependencies inside, when"
        )
        say("anything changed; or the whole layer at every deployment, and the functions' code when anything changed.")
        say("What lamina's first deployment has beyond that is for machines that will publish without the wheels.")

    def judge(self, first: Step, again: Step, code: Step, bump: Step) -> int:
        """Return 1 if a deployment sent what it need not have."""
        versions = len(self.functions.list_layer_versions(LayerName="orders-common")["LayerVersions"])
        wrong = [
            words
            for words, bad in (
                (
                    "the first deployment sent more than the layer, its directory and the code",
                    first.sent > first.layer_per_deploy * _WITH_DIRECTORY,
                ),
                ("something was sent although nothing had changed", again.sent > 0),
                ("the layer was sent for a change of code", code.sent * 10 > code.layer_per_deploy),
                ("half of the layer was sent for one small wheel", bump.sent * 2 > bump.layer_per_deploy),
                (f"there are {versions} layer versions instead of 2", versions != 2),
            )
            if bad
        ]
        for words in wrong:
            say(f"FAILED: {words}")
        return 1 if wrong else 0


def older(lock: str) -> str:
    """Return *lock* with one distribution at an older release."""
    name, version, sha256 = OLDER
    text, count = re.subn(
        rf"(?m)^{name}==.*\\\n(?:    --hash=sha256:\w+(?: \\)?\n)+",
        f"{name}=={version} \\\\\n    --hash=sha256:{sha256}\n",
        lock,
    )
    if count != 1:
        sys.exit(f"the example's lock does not have {name}")
    return text


def say(words: str) -> None:
    """Print at once, because subprocesses print too."""
    print(words, flush=True)


if __name__ == "__main__":
    sys.exit(Demo(Path(sys.argv[1]), invoke=sys.argv[2] == "invoke").run())
