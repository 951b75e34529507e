"""What the tests of ng have in common: the relays under test, and clients of them."""

from collections.abc import Iterator

import pytest

from tests.ng.client import BENCODE, JSON, NgClient
from tests.ng.ng_call import AUDIO, End, NgCall
from tests.ng.relays import NgRelay, running_ng_relay, running_nh
from tests.sip.sdp import MediaLine


@pytest.fixture(scope="session")
def nh() -> Iterator[NgRelay]:
    """nh alone: what rtpengine does otherwise, or not at all."""
    with running_ng_relay("nh") as relay:
        yield relay


@pytest.fixture(scope="session")
def rtpengine() -> Iterator[NgRelay]:
    with running_ng_relay("rtpengine") as relay:
        yield relay


@pytest.fixture(scope="session")
def nh_in_the_kernel() -> Iterator[NgRelay]:
    with running_nh(kernel="on", kernel_interface="lo") as relay:
        yield relay


@pytest.fixture(
    scope="session",
    params=[
        "nh",
        pytest.param("nh_in_the_kernel", marks=pytest.mark.kernel),
        pytest.param("rtpengine", marks=pytest.mark.rtpengine),
    ],
)
def relay(request: pytest.FixtureRequest) -> NgRelay:
    """nh, with and without the path in the kernel, and the reference that it has to agree with."""
    running: NgRelay = request.getfixturevalue(request.param)
    return running


@pytest.fixture(params=[BENCODE, JSON], ids=lambda encoding: encoding.name)
def any_client(request: pytest.FixtureRequest, relay: NgRelay) -> Iterator[NgClient]:
    """A client in either encoding."""
    with NgClient(relay.address, request.param) as client:
        yield client


@pytest.fixture
def client(relay: NgRelay) -> Iterator[NgClient]:
    with NgClient(relay.address) as client:
        yield client


@pytest.fixture
def call(client: NgClient) -> Iterator[NgCall]:
    """A call to be, which is deleted behind the test."""
    call = NgCall(client)
    yield call
    call.delete()


@pytest.fixture
def answered(client: NgClient) -> NgCall:
    """A call from offer to answer."""
    call = NgCall(client)
    call.offer(AUDIO)
    call.answer([MediaLine("127.0.0.1", 40_002)])
    return call


@pytest.fixture
def alice() -> Iterator[End]:
    end = End("alice")
    yield end
    end.close()


@pytest.fixture
def bob() -> Iterator[End]:
    end = End("bob")
    yield end
    end.close()
