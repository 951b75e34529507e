"""--ng-unsupported: what nh does not do costs the request, or only a warning."""

from collections.abc import Iterator

import pytest

from tests.ng.client import NgClient, reason
from tests.ng.ng_call import SDP, End, NgCall, talk
from tests.ng.relays import NgRelay, running_nh
from tests.sip.message import new_token


@pytest.fixture(scope="module")
def lenient() -> Iterator[NgRelay]:
    with running_nh(ng_unsupported="recording=warn", kernel="off") as relay:
        yield relay


def test_a_script_that_records_keeps_its_calls(lenient: NgRelay, alice: End, bob: End) -> None:
    with NgClient(lenient.address) as client:
        call = NgCall(client)
        bob.read(call.offer(alice.describe(), record_call="yes", flags=["siprec"]))
        alice.read(call.answer(bob.describe(), record_call="yes"))
        started = client.get("start recording", call_id=call.call_id, from_tag=call.from_tag)
        assert started["warning"] == "Not supported by nh: start recording (nh records nothing)"
        talk(alice, bob)
        call.delete()
    lenient.program.wait_for_line(f"for call '{call.call_id}' from 127.0.0.1:")


def test_another_feature_is_refused(lenient: NgRelay) -> None:
    with NgClient(lenient.address) as client:
        refused = client.request(
            "offer", call_id=new_token(), from_tag="f", sdp=SDP, flags=["force-transcoding"]
        )
    assert reason(refused) == "Not supported by nh: force-transcoding (nh does not transcode)"
