"""nh.shard.ng.targets: where the client of a call may have it reported."""

import pytest

from nh.calls.media import Endpoint
from nh.calls.settings import RelaySettings
from nh.commands import Offer, OfferOptions
from nh.results import Rewritten
from nh.shard.ng.targets import Targets
from tests.calls.fakes import CALL
from tests.calls.ng_proxy import A, NgProxy, make_ng_proxy


@pytest.fixture
def proxy() -> NgProxy:
    proxy = make_ng_proxy()
    proxy.connect()
    return proxy


def noted(proxy: NgProxy, address: str, *allowed: str, warning: str = "") -> tuple[Endpoint | None, str]:
    """Where telephone events go when a client names an address, and what the client is warned of."""
    proxy.table.resources.settings = RelaySettings(dtmf_address=allowed)
    command = Offer(CALL, A, b"", b"", b"", OfferOptions(dtmf_target=Endpoint(address, 9)))
    result = Targets(proxy.table).note(command, Rewritten(b"", warning))
    return proxy.table.get_call(CALL).dtmf_target, result.warning


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
def test_telephone_events_may_go_to_the_own_host(proxy: NgProxy, address: str) -> None:
    assert noted(proxy, address) == (Endpoint(address, 9), "")


def test_they_go_to_another_host_where_the_settings_list_it(proxy: NgProxy) -> None:
    assert noted(proxy, "2001:db8::1", "192.0.2.1", "2001:DB8:0::1") == (Endpoint("2001:db8::1", 9), "")
    proxy.table.get_call(CALL).dtmf_target = None
    assert noted(proxy, "192.0.2.2", "192.0.2.1", warning="before") == (
        None,
        "before; dtmf-log-dest: dtmf_address does not list 192.0.2.2",
    )


def test_what_the_settings_list_is_addresses() -> None:
    with pytest.raises(ValueError, match=r"dtmf_address: 'proxy\.example' is not an IP address"):
        RelaySettings(dtmf_address=("proxy.example",))
