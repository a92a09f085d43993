"""Test of importing the constructs without the extra `cdk`."""

from __future__ import annotations

import subprocess
import sys

from lamina.core.installation import install_command


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

    expected = f"`lamina.cdk` requires the optional dependencies `lamina[cdk]`\nadd them: `{install_command('cdk')}`\n"
    assert expected == done.stdout
