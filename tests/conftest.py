"""Fixtures of more than one part of the tests."""

import functools
import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from nh.stats import Segment, own_segment, segment_name
from tests.kernel_support import proved_obstacle, required
from tests.ng.kamailio import kamailio_has_websocket, kamailio_is_installed
from tests.ng.node_clients import node_clients_are_installed
from tests.profiles import VARIABLE, examples, is_repeatable, more_examples
from tests.sip import baresip
from tools.harness import valkey_server
from tools.harness.relay import Place, place_for_relay

# relays that tests start keep to user space, and off the host's interfaces, unless a test says otherwise
os.environ["NH_KERNEL"] = "off"
# nor do they leave anything in the host's state directory
os.environ["NH_STATE"] = "off"
# bytecode is kept, as in `make test`: in containers without it each process of nh compiles 300 modules
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# a shell without job control has what it starts in the background ignore SIGINT; programs under test must not
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """A run that leaves out the marker `full` is a quick one for property tests, too."""
    profile = "quick" if "not full" in config.option.markexpr else "full"
    os.environ[VARIABLE] = profile
    hypothesis.settings.register_profile(
        profile,
        max_examples=examples(100),
        derandomize=is_repeatable(),
        # a busy host draws and runs examples slowly, which is no fault of the test
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
        deadline=None,
    )
    hypothesis.settings.load_profile(profile)


@functools.cache
def perl_has_net_sip() -> bool:
    try:
        return subprocess.run(["perl", "-MNet::SIP", "-e1"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


PEERS: dict[str, tuple[Callable[[], bool], str]] = {
    "perl": (perl_has_net_sip, "needs Perl's Net::SIP: apt-get install libnet-sip-perl"),
    "rtpengine": (
        lambda: bool(shutil.which("rtpengine")),
        "needs rtpengine: apt-get install rtpengine-daemon",
    ),
    "kamailio": (
        kamailio_is_installed,
        "needs Kamailio with its module rtpengine: apt-get install kamailio",
    ),
    "kamailio_websocket": (
        kamailio_has_websocket,
        "needs Kamailio with its module websocket: apt-get install kamailio-websocket-modules",
    ),
    "firefox": (lambda: bool(shutil.which("firefox-esr")), "needs Firefox: apt-get install firefox-esr"),
    "chromium": (lambda: bool(shutil.which("chromium")), "needs Chromium: apt-get install chromium"),
    "promtool": (lambda: bool(shutil.which("promtool")), "needs promtool: apt-get install prometheus"),
    "node": (
        node_clients_are_installed,
        "needs Node.js and its clients of ng: apt-get install nodejs npm, and make node",
    ),
    "valkey": (lambda: not valkey_server.missing(), valkey_server.missing()),
    "baresip": (lambda: baresip.modules() is not None, "needs baresip: apt-get install baresip-core"),
    "keepalived": (
        lambda: bool(shutil.which("keepalived") and shutil.which("curl")),
        "needs keepalived and curl: apt-get install keepalived curl",
    ),
    "sipp": (lambda: bool(shutil.which("sipp")), "needs sipp: apt-get install sip-tester"),
}
"""By marker: whether the peer of such tests is installed, and how to come by it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests whose peer is not installed, or whose kernel cannot do it, are skipped, with the reason."""
    missing = {marker: reason for marker, (is_there, reason) in PEERS.items() if not is_there()}
    if obstacle := proved_obstacle():
        if required():
            raise pytest.UsageError(f"tests of the path in the kernel have to run, but this host {obstacle}")
        missing["kernel"] = obstacle
    for item in items:
        for marker, reason in missing.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
        if more_examples() > 1 and getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            # hypothesis reports a timeout as a test that is flaky
            limit = item.get_closest_marker("timeout")
            seconds = float(limit.args[0] if limit else item.config.getini("timeout"))
            item.add_marker(pytest.mark.timeout(seconds * more_examples()), append=False)


def pytest_collection_finish() -> None:
    """The garbage collector leaves alone what stays to the end: 12,000 tests, and their modules.

    With them each full collection takes 0.2 s; a property test that counts descriptors makes dozens.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(params=["unix", "tcp"])
def rpc_where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a server of the test listens."""
    return str(tmp_path / "rpc") if request.param == "unix" else "127.0.0.1"


@pytest.fixture
def rpc_path(tmp_path: Path) -> str:
    """The path of a Unix socket to be."""
    return str(tmp_path / "rpc")


@pytest.fixture
def place() -> Iterator[Place]:
    """Where relays are started one after the other: the next one finds what the last one left."""
    with place_for_relay() as place:
        yield place


@pytest.fixture
def no_descriptor_leaks() -> Iterator[None]:
    """The test leaves as many descriptors open as it found."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[Segment]:
    """The statistics of an nh with two shards whose runtime directory is tmp_path."""
    with own_segment(segment_name(tmp_path), 2) as segment:
        yield segment
