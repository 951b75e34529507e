"""What tools/systemd/nh.service forbids nh and a test can forbid too, without systemd."""

import functools
import subprocess
import sys
from typing import Final

import pytest

_REFUSE_CODE: Final = """
import ctypes, os, sys
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1  # linux/prctl.h, inherited by whatever is started
if ctypes.CDLL(None).prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0:
    sys.exit(75)
os.execvp(sys.argv[1], sys.argv[1:])
"""

NO_NEW_CODE: Final = (sys.executable, "-c", _REFUSE_CODE)
"""Runs a command with MemoryDenyWriteExecute=: no memory is ever both written and executed."""

NO_NEW_PRIVILEGES: Final = ("setpriv", "--no-new-privs")
"""Runs a command with NoNewPrivileges=."""


@functools.cache
def _is_known() -> bool:
    return subprocess.run([*NO_NEW_CODE, "true"], check=False).returncode == 0


def needs_no_new_code() -> None:
    """Skip the test where the kernel does not know how to refuse (Linux 6.3 does)."""
    if not _is_known():
        pytest.skip("needs Linux 6.3 to refuse memory that is both written and executed")
