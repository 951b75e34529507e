"""A whole nh in any order of offers, answers and deletes: each end hears what the model says."""

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.calls.hearing import HearingMachine, Phone
from tests.ng.client import NOT_FOUND, NgClient
from tests.ng.relays import NgRelay
from tests.profiles import examples
from tests.sip.message import new_token
from tests.sip.sdp import MediaLine, read_sdp, write_sdp
from tools.harness.media_peer import MediaPeer

PRIVATE = ("192.168.77.5", 5004)
MAX_S = 5.0
"""How long to listen for a packet that may not come."""


class RealPhone:
    """A phone with sockets; behind a NAT, at another address than it announces."""

    def __init__(self, announced: tuple[str, int] | None) -> None:
        self.peer = MediaPeer("127.0.0.5" if announced else "127.0.0.1")
        self.nat = announced is not None
        self.media = [MediaLine(*(announced or (self.peer.address, self.peer.port)))]


class RealRelay:
    """See tests.calls.hearing.Relay. Time passes by itself, and no process dies."""

    def __init__(self, relay: NgRelay) -> None:
        self._client = NgClient(relay.address)
        self._call_id = new_token()
        self._phones: list[RealPhone] = []

    def new_phone(self, *, nat: bool = False, moved: Phone | None = None) -> RealPhone:
        address, port = PRIVATE
        again = 2 * len(self._phones) if moved is not None else 0
        phone = RealPhone((address, port + again) if nat else None)
        self._phones.append(phone)
        return phone

    def offer(self, phone: Phone, *, tag: bytes, to: bytes, branch: bytes) -> int:
        return self._rewrite("offer", phone, from_tag=tag, to_tag=to, via_branch=branch)

    def answer(self, phone: Phone, *, tag: bytes, to: bytes, branch: bytes) -> int:
        return self._rewrite("answer", phone, from_tag=to, to_tag=tag, via_branch=branch)

    def _rewrite(self, command: str, phone: Phone, **tags: bytes) -> int:
        assert isinstance(phone, RealPhone)
        reply = self._client.get(
            command, call_id=self._call_id, sdp=write_sdp(phone.media), **_without_empty(tags)
        )
        return read_sdp(str(reply["sdp"]))[0].port

    def delete(self, *, tag: bytes, to: bytes, branch: bytes, delay_s: int) -> bool:
        tags = _without_empty({"from_tag": tag, "to_tag": to, "via_branch": branch})
        flags = ["to-tag"] if to else []
        reply = self._client.get("delete", call_id=self._call_id, delete_delay=delay_s, flags=flags, **tags)
        return reply.get("warning") != NOT_FOUND

    def say(self, speaker: Phone, port: int, listener: Phone) -> int | None:
        assert isinstance(speaker, RealPhone)
        assert isinstance(listener, RealPhone)
        text = new_token().encode()
        speaker.peer.send(text, ("127.0.0.1", port))
        arriving = listener.peer.arriving(MAX_S)
        return next((came_from for heard, (_, came_from) in arriving if heard == text), None)

    def pass_time(self, seconds: float) -> None:
        raise NotImplementedError

    def restart(self) -> None:
        """Nothing: tests/survival has deaths of processes."""

    def close(self) -> None:
        self._client.get("delete", call_id=self._call_id, delete_delay=0)
        self._client.close()
        for phone in self._phones:
            phone.peer.close()


def _without_empty(tags: dict[str, bytes]) -> dict[str, str]:
    return {name: tag.decode() for name, tag in tags.items() if tag}


def test_each_end_hears_the_other_whatever_is_signalled(nh: NgRelay) -> None:
    class RealHearing(HearingMachine):
        moves_time = False

        def make_relay(self) -> RealRelay:
            return RealRelay(nh)

    run_state_machine_as_test(
        RealHearing,
        settings=settings(max_examples=examples(60), stateful_step_count=15, deadline=None, derandomize=True),
    )
