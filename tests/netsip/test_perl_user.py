"""A Net::SIP proxy of another user than nh's: rpc_group and rpc_mode (docs/how-to/net-sip.md)."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netsip.perl_calls import AUDIO, REQUEST, basic, new_call
from tests.netsip.perl_helper import HelperDied, PerlHelperClient
from tools.harness.relay import Relay, running_relay

PROXY_USER, PROXY_GROUP, OTHER_GROUP = 65_534, 47_001, 47_002

pytestmark = [
    pytest.mark.perl,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root, and setpriv"),
]


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    with running_relay(shards=1, rpc_group=PROXY_GROUP, rpc_mode="0660") as running:
        yield running


def proxy(relay: Relay, group: int) -> PerlHelperClient:
    """A Perl client of a user whose only other group is `group`."""
    identity = [f"--reuid={PROXY_USER}", f"--regid={PROXY_USER}", f"--groups={group}"]
    return PerlHelperClient(relay.unix_address, wrapped_in=["setpriv", *identity])


def test_a_proxy_whose_user_is_in_the_group_is_served(relay: Relay) -> None:
    with proxy(relay, PROXY_GROUP) as client:
        [[_address, port, number]] = client.allocate(basic(new_call()), REQUEST, AUDIO)
        assert port
        assert number == 2


def test_a_proxy_of_another_user_is_not_served(relay: Relay) -> None:
    with proxy(relay, OTHER_GROUP) as client, pytest.raises(HelperDied, match="Permission denied"):
        client.allocate(basic(new_call()), REQUEST, AUDIO)


def test_the_group_gets_no_more_than_it_needs(relay: Relay) -> None:
    socket, directory = Path(relay.unix_address).stat(), relay.directory.stat()
    assert (socket.st_gid, stat.S_IMODE(socket.st_mode)) == (PROXY_GROUP, 0o660)
    assert (directory.st_gid, stat.S_IMODE(directory.st_mode)) == (PROXY_GROUP, 0o710)
