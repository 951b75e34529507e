"""nh.supervisor.host.addresses: addresses for media that the host lacks are logged once each."""

import logging

import pytest

from nh.calls.interfaces import Interface
from nh.supervisor.host.addresses import warn_of_missing_addresses


def test_an_address_that_the_host_lacks_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    bound = [("pub", "203.0.113.9"), ("again", "203.0.113.9"), ("six", "2001:db8::9"), ("own", "127.0.0.1")]
    warn_of_missing_addresses([Interface(name, address, address) for name, address in bound])
    assert caplog.messages == [
        f"address {address} is not on this host: ng calls that need it are refused until it is"
        for address in ("203.0.113.9", "2001:db8::9")
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_what_is_announced_may_be_the_address_of_a_nat(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_missing_addresses([Interface("pub", "127.0.0.1", "203.0.113.9")])
    assert caplog.messages == []
