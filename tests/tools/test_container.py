"""tools/packaging/docker: nh-pod, in process namespaces like those of pods, on the directories of a node."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Activate, Allocate, Close, ListCalls, TransactionKey
from nh.errors import NhError
from tools.harness.ports import min_max
from tools.harness.program import Program
from tools.harness.relay import Place, place_for_relay
from tools.harness.waiting import TIMEOUT_S, eventually

POD = Path(__file__).parents[2] / "tools" / "packaging" / "docker" / "nh-pod"
KEY = TransactionKey(b"pod", 1, b"from", b"to")
ENDED_S = 30.0
NAMESPACES = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare (util-linux)"
    ),
]


class Pod:
    """A pod whose first process is nh-pod."""

    def __init__(self, place: Place, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TMPDIR": str(directory),
            "NH_RUNTIME_DIR": str(place.directory),
            "NH_STATE": str(place.directory / "state"),
            "NH_PORTS": min_max(place.ports),
            "NH_KERNEL": "off",
        }
        self.program = Program([*NAMESPACES, "sh", str(POD), "--shards", "1"], self._environment)

    @property
    def first(self) -> psutil.Process:
        """The first process, as the host sees it."""
        (process,) = psutil.Process(self.program.pid).children()
        return process

    def wait_until_ready(self) -> None:
        """Until its nh is ready."""
        self.program.wait_for_line("ready")

    @property
    def nh_has_ended(self) -> bool:
        """Whether nh-pod waits for the end of the pod."""
        return (self._directory / "nh-ended").exists()

    @property
    def supervisor(self) -> psutil.Process:
        """The process `nh run`: the first process waits for it, and for orphaned shards."""
        return next(it for it in self.first.children() if "run" in _words(it))

    def drain(self) -> subprocess.Popen[bytes]:
        """Run the preStop hook in it."""
        into = ("nsenter", "--target", str(self.first.pid), "--pid", "--mount")
        return subprocess.Popen([*into, "sh", POD, "drain"], env={**os.environ, **self._environment})


def _words(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return list(process.cmdline())
    return []


@pytest.fixture
def place() -> Iterator[Place]:
    with place_for_relay() as found:
        yield found


@pytest.fixture
def pod(place: Place, tmp_path: Path) -> Iterator[Pod]:
    """A pod with a call."""
    made = Pod(place, tmp_path / "first")
    with made.program:
        made.wait_until_ready()
        with NativeClient(address(place), TIMEOUT_S) as client:
            for side in Side:
                media = (Media("127.0.0.1", 9, 2, "RTP/AVP", "audio"),)
                client.request(Allocate(KEY, side, "127.0.0.1", media))
            client.request(Activate(KEY))
        yield made


def address(place: Place) -> str:
    return str(place.directory / "nh.sock")


def calls(place: Place) -> int:
    with contextlib.suppress(NhError, OSError), NativeClient(address(place), TIMEOUT_S) as client:
        return len(client.request(ListCalls()).calls)
    return -1


def test_the_next_pod_takes_the_calls_over_and_the_old_one_stays_away(
    place: Place, pod: Pod, tmp_path: Path
) -> None:
    following = Pod(place, tmp_path / "second")
    with following.program:
        following.wait_until_ready()
        eventually(lambda: pod.nh_has_ended, "nh has ended in the old pod", details=pod.program.last_output)
        assert calls(place) == 1
        assert not pod.program.ended, "kubelet would start it again"
        assert pod.drain().wait(ENDED_S) == 0, "the hook of the old pod has nothing to wait for"
        pod.first.send_signal(signal.SIGTERM)
        assert pod.program.wait(ENDED_S) == 0
        assert calls(place) == 1
        following.first.send_signal(signal.SIGTERM)
        assert following.program.wait(ENDED_S) == 0


def test_the_hook_returns_when_the_last_call_has_ended(place: Place, pod: Pod) -> None:
    hook = pod.drain()
    eventually(lambda: "drain" in pod.program.output, "nh drains", details=pod.program.last_output)
    assert hook.poll() is None
    with NativeClient(address(place), TIMEOUT_S) as client:
        client.request(Close(KEY))
    assert hook.wait(ENDED_S) == 0
    assert not pod.program.ended
    pod.first.send_signal(signal.SIGTERM)
    assert pod.program.wait(ENDED_S) == 0


def test_calls_outlive_the_supervisor_of_a_pod(place: Place, pod: Pod) -> None:
    before = pod.supervisor
    before.kill()
    eventually(lambda: calls(place) == 1, "the next supervisor has the call", details=pod.program.last_output)
    assert pod.supervisor != before
    pod.first.send_signal(signal.SIGTERM)
    assert pod.program.wait(ENDED_S) == 0


def test_a_setting_that_cannot_be_used_ends_the_pod(place: Place, tmp_path: Path) -> None:
    wrong = Pod(place._replace(ports=range(5, 6)), tmp_path / "wrong")
    with wrong.program:
        assert wrong.program.wait(60) == 2, wrong.program.output
