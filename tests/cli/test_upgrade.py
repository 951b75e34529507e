"""nh.cli.upgrade: what is said where no new nh serves. Other upgrades are in tests/survival."""

import pytest

from nh.cli.upgrade import wait_for_successor
from nh.client import NativeClient
from nh.commands import GetStats
from nh.errors import Unavailable
from tools.harness.relay import running_relay


def test_an_old_nh_that_goes_on_serving_is_given_up_in_time() -> None:
    with running_relay(shards=1) as relay:
        with NativeClient(relay.unix_address, timeout_s=30) as client:
            supervisor = client.request(GetStats()).values["supervisor"]
        assert isinstance(supervisor, dict)
        with pytest.raises(Unavailable, match=r"the old nh still serves after 0\.5 s"):
            wait_for_successor(relay.unix_address, supervisor["started"], patience_s=0.5)


def test_a_new_nh_that_does_not_serve_is_given_up_in_time(rpc_path: str) -> None:
    with pytest.raises(Unavailable, match=r"the new nh does not answer .*start nh again"):
        wait_for_successor(rpc_path, 1.0, patience_s=0.2)
