"""The call of a browser outlives every process, and its host, with DTLS, ICE, certificate and bundle."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.netns import needs_namespaces
from tests.ng.client import NgClient
from tests.ng.ng_call import NgCall
from tests.survival.faults import kill_everything, ng_client
from tests.survival.test_valkey import until_stored
from tests.webrtc.browser_end import BrowserCall, BrowserEnd
from tools.harness.command import nh_ok
from tools.harness.deployment import Deployment, deployed_relay
from tools.harness.hosts import NG_PORT, PHONES, VIRTUAL, Host, some_hosts
from tools.harness.media_peer import MediaPeer
from tools.harness.valkey_server import valkey_server
from tools.harness.waiting import eventually

LEASE_S = 8
"""Other tests use the CPUs: a relay may come too late to renew a shorter one."""


@contextlib.contextmanager
def talking(client: NgClient, address: str = "127.0.0.1") -> Iterator[BrowserCall]:
    """A call between a browser and a plain phone, with media."""
    with MediaPeer(address) as web, MediaPeer(address) as audio, MediaPeer(address) as video:
        call = BrowserCall(NgCall(client), BrowserEnd(web), [audio, video])
        call.talk(mids=True)
        yield call


def goes_on(call: BrowserCall, client: NgClient) -> bool:
    """Whether it is known, and has media and consent; the browser has only the keys of its handshake."""
    call.call.client = client
    eventually(call.call.is_known, "the call is known again", 30.0)
    for _ in range(3):
        call.talk()
    return call.browser.is_consented_to()


@pytest.fixture(
    params=["a file", pytest.param("a server", marks=[pytest.mark.valkey, pytest.mark.full])],
)
def stored(request: pytest.FixtureRequest, tmp_path: Path, key_file: Path) -> Iterator[Deployment]:
    """A relay whose store, encrypted, is in a file or on a server."""
    with contextlib.ExitStack() as stack:
        state = str(tmp_path / "calls")
        if request.param == "a server":
            state = f"{stack.enter_context(valkey_server()).url}/0?prefix=browsers"
        relay = deployed_relay(ng="127.0.0.1:0", address="127.0.0.1", state=state, state_key_file=key_file)
        deployment = stack.enter_context(relay)
        deployment.start()
        yield deployment


def test_the_call_of_a_browser_outlives_a_kill_of_everything(stored: Deployment) -> None:
    with ng_client(stored) as client, talking(client) as call:
        for _ in range(2):
            until_stored(stored.relay)  # what is on a server may be a fifth of a second old
            kill_everything(stored)
            with ng_client(stored) as again:
                assert goes_on(call, again)
                assert stored.stats().totals.dtls_ok == 0


def hosts_die(one: Host, _two: Host) -> None:
    one.kill()


def calls_move(one: Host, _two: Host) -> None:
    nh_ok(one.deployment.place, "move")


@pytest.mark.valkey
@pytest.mark.full
@pytest.mark.timeout(180)
@pytest.mark.parametrize("happen", [hosts_die, calls_move])
def test_the_call_of_a_browser_moves_to_another_host(
    key_file: Path, happen: Callable[[Host, Host], None]
) -> None:
    needs_namespaces()
    with some_hosts(lease_s=LEASE_S, standby=True, state_key_file=key_file) as network:
        one, two = network.hosts
        network.move_address(one)
        one.start()
        with (
            network.phones.entered(),
            NgClient((VIRTUAL, NG_PORT)) as client,
            talking(client, PHONES) as call,
        ):
            two.launch()
            two.wait_until_warm(1)
            happen(one, two)
            two.deployment.relay.wait_until_ready()
            network.move_address(two)
            with NgClient((VIRTUAL, NG_PORT)) as again:
                assert goes_on(call, again)
            assert two.deployment.stats().totals.dtls_ok == 0
