"""Calls by baresip through Kamailio, with SRTP by SDES at one phone and plain RTP at the other: both hear."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.ng.kamailio import DOCUMENT, NODES, Kamailio, running_documented
from tests.ng.relays import NgRelay
from tests.sip.baresip import Baresip, running_baresip
from tools.harness.waiting import eventually

pytestmark = [pytest.mark.kamailio, pytest.mark.baresip, pytest.mark.full]

BETWEEN_IPV4 = '    } else {\n        $avp(media) = "replace-origin";'
"""What the page's configuration offers between two ends with IPv4."""


@contextlib.contextmanager
def kamailio_that_offers(relay: NgRelay, transport: str) -> Iterator[Kamailio]:
    """Kamailio with the configuration of the page, in which callees get another transport."""
    changes = {
        NODES: "udp:{}:{}".format(*relay.address),
        BETWEEN_IPV4: BETWEEN_IPV4.replace('origin"', f'origin {transport}"'),
    }
    with running_documented(DOCUMENT, changes) as kamailio:
        yield kamailio


def assert_both_hear(*phones: Baresip) -> None:
    for phone in phones:
        eventually(phone.hears, "the phone hears the other one", 60, details=lambda: phones[0].output)


@pytest.mark.parametrize(
    ("calling", "called", "transport"), [("", "srtp-mand", "RTP/SAVP SDES-pad"), ("srtp-mand", "", "RTP/AVP")]
)
def test_a_phone_with_srtp_and_a_plain_one_hear_each_other(
    relay: NgRelay, calling: str, called: str, transport: str
) -> None:
    # baresip decodes keys of AES-GCM only if their base64 is padded
    with (
        kamailio_that_offers(relay, transport) as kamailio,
        running_baresip(media=called) as callee,
        running_baresip(media=calling, outbound=kamailio.near, dial=callee.uri) as caller,
    ):
        assert_both_hear(caller, callee)
        secured = caller if calling else callee
        assert "SRTP is Enabled" in secured.output
        assert "failed to decrypt RTP packet" not in secured.output
