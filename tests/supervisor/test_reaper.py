"""nh.supervisor.host.reaper: children that nh had before exec(2)."""

import errno
import os
import subprocess
from collections.abc import Iterator

import pytest

from nh.loop import SelectorLoop
from nh.supervisor.host import reaper
from nh.supervisor.host.reaper import reap_children_after_exec


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A child that has ended, and that no process has waited for."""
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        monkeypatch.setattr(reaper, "_children", lambda: [process.pid])
        yield process.pid


def test_children_are_reaped(child: int, no_descriptor_leaks: None) -> None:
    loop = SelectorLoop()
    with reap_children_after_exec(loop):
        loop.turn()
    loop.close()
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)


def test_nh_starts_without_descriptors_for_them(
    child: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, no_descriptor_leaks: None
) -> None:
    def refuse(_pid: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    loop = SelectorLoop()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pidfd_open", refuse)
        with reap_children_after_exec(loop):
            pass
    loop.close()
    assert f"process {child}, which has ended or will, stays as a zombie: Too many open files" in caplog.text
