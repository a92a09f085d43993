"""Synthesize projects in a separate process for a test, and print the results as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cdk.apps import app_of, synthesized
from lamina.cdk.builds import SHARED

rows = []
for argument in sys.argv[1:]:
    runs = SHARED.runs
    result = synthesized(*app_of(Path(argument)))
    rows.append(
        {
            "template": result.template,
            "files": result.files,
            "runs": SHARED.runs - runs,
            "pipeline": "lamina.pipeline.build" in sys.modules,
        }
    )
json.dump(rows, sys.stdout)
