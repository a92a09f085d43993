"""Test of importing the constructs without the extra `cdk`."""

from __future__ import annotations

import subprocess
import sys


def test_missing_extra() -> None:
    """Without aws-cdk-lib, importing `lamina.cdk` raises an error that names the extra; the rest of lamina works."""
    program = """\
import sys
sys.modules["aws_cdk"] = None
import lamina.cli
try:
    import lamina.cdk
except lamina.core.errors.MissingExtraError as error:
    print(error, error.hint, sep="\\n")
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert (
        "`lamina.cdk` requires the optional dependencies `lamina[cdk]`\ninstall them: `pip install 'lamina[cdk]'`\n"
        == done.stdout
    )
