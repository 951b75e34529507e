"""nh.supervisor.host.addresses: addresses for media that the host lacks end a start, not a call."""

import logging
from pathlib import Path

import pytest

from nh.config import Settings
from nh.errors import NotNow
from nh.supervisor.host.addresses import check_addresses, is_local
from tests.netns import namespaces


def interfaces(*addresses: str) -> Settings:
    return Settings(interface=tuple(f"n{number}/{address}" for number, address in enumerate(addresses)))


def test_addresses_of_this_host_are_fine_whatever_is_announced(caplog: pytest.LogCaptureFixture) -> None:
    check_addresses(interfaces("127.0.0.1!203.0.113.9", "::1", "127.0.0.1"), takes_over=False)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("address", "here", "remedy"),
    [
        ("203.0.113.9", "203.0.113.9 is not", "`ip address`.*net.ipv4.ip_nonlocal_bind=1"),
        ("2001:db8::9", "2001:db8::9 is not", "`ip address`.*net.ipv6.ip_nonlocal_bind=1"),
        ("203.0.113.9!127.0.0.1", "203.0.113.9 is not", "say 127.0.0.1!203.0.113.9, the address of"),
    ],
)
def test_an_address_that_the_host_lacks_ends_the_start_with_what_to_say(
    address: str, here: str, remedy: str
) -> None:
    with pytest.raises(NotNow, match=f"^interface: {here} on this host; .*{remedy}"):
        check_addresses(interfaces("127.0.0.1", address), takes_over=False)


@pytest.mark.parametrize(
    ("setting", "settings"),
    [
        ("address", Settings(address="203.0.113.9", interface=("pub/127.0.0.1",))),
        ("interface", Settings(address="127.0.0.1", interface=("pub/203.0.113.9",))),
        ("interface", Settings(interface=("default/203.0.113.9",))),
        ("interface", Settings(address="127.0.0.1", interface=("default/203.0.113.9",))),
    ],
)
def test_the_setting_that_names_a_missing_address_is_told(setting: str, settings: Settings) -> None:
    with pytest.raises(NotNow, match=f"^{setting}: 203.0.113.9 is not on this host"):
        check_addresses(settings, takes_over=False)


def test_calls_are_taken_over_without_the_address_which_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    check_addresses(interfaces("203.0.113.9", "203.0.113.9", "2001:db8::9", "127.0.0.1"), takes_over=True)
    assert caplog.messages == [
        f"address {address} is not on this host: ng calls that need it are refused until it is"
        for address in ("203.0.113.9", "2001:db8::9")
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_a_virtual_address_may_come_later_where_it_can_be_bound(caplog: pytest.LogCaptureFixture) -> None:
    with namespaces(1) as (host,), host.entered():
        Path("/proc/sys/net/ipv4/ip_nonlocal_bind").write_text("1")
        check_addresses(interfaces("203.0.113.9"), takes_over=False)
        assert not is_local("203.0.113.9")
    (message,) = caplog.messages
    assert message.startswith("address 203.0.113.9 is not on this host, but can be bound (ip_nonlocal_bind)")


def test_an_address_is_local_if_an_interface_has_it() -> None:
    with namespaces(1) as (host,), host.entered():
        assert is_local("127.0.0.1")
        assert not is_local("192.0.2.1")
        host.run("ip address add 192.0.2.1/24 dev lo", "ip address add 2001:db8::1/64 dev lo nodad")
        assert is_local("192.0.2.1")
        assert is_local("2001:db8::1")
        assert not is_local("192.0.2.2")
        host.run("ip address add 192.0.2.2/24 dev lo", "ip address add 2001:db8::2/64 dev lo nodad")
        assert is_local("192.0.2.2"), "the second address of a network"
        assert is_local("2001:db8::2")
        assert not is_local("192.0.2.3")
