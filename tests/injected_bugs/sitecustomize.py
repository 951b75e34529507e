"""One bug in a supervisor of nh that a test starts, as $TEST_BUG says; Python imports this first.

The file of that name has the qualified name of a function of nh: its next call raises RuntimeError. With the
number of a signal behind it, the process gets that signal there instead. The process that takes the file has
the bug, once. See tests/survival/test_bugs.py. $TEST_BUG_OF_SHARD says the same for shards. CALLER>FUNCTION
is the call of a function by another one.
"""

import os
import sys
from types import FrameType

_OF_SHARD = "nh.shard" in sys.orig_argv
_FILE = os.environ.get("TEST_BUG_OF_SHARD" if _OF_SHARD else "TEST_BUG", "")


def _hear(frame: FrameType, event: str, _argument: object) -> None:
    if event != "call" or frame.f_code.co_qualname != _WANTED or "/nh/" not in frame.f_code.co_filename:
        return
    if _CALLER and (frame.f_back is None or frame.f_back.f_code.co_qualname != _CALLER):
        return
    sys.setprofile(None)
    try:
        os.rename(_FILE, f"{_FILE}.taken")  # noqa: PTH104  before pathlib is needed
    except FileNotFoundError:
        return
    if _SIGNAL:
        os.kill(os.getpid(), int(_SIGNAL))
    else:
        raise RuntimeError("a bug in nh")


if _FILE and (_OF_SHARD or "run" in sys.orig_argv) and "--preflight" not in sys.orig_argv:
    try:
        with open(_FILE, encoding="ascii") as _file:  # noqa: PTH123  as above
            _NAME, _, _SIGNAL = _file.read().partition(" ")
        _CALLER, _, _WANTED = _NAME.rpartition(">")
        sys.setprofile(_hear)
    except FileNotFoundError:
        pass
