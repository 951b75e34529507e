"""Calls as a Net::SIP proxy asks for them, through the Perl client."""

import itertools
import socket
from typing import Any

from nh.address import socket_family
from tests.netsip.perl_helper import PerlHelperClient
from tests.sip.sdp import MediaLine, write_sdp

ALICE = "sip:alice\0tag-of-alice\x00127.0.0.1"
BOB = "sip:bob\0tag-of-bob\x00127.0.0.2"
CAROL = "sip:carol\0tag-of-carol\x00127.0.0.2"
REQUEST = 0
RESPONSE = 1
AUDIO = write_sdp([MediaLine("127.0.0.1", 30_000)])

_numbers = itertools.count()


def new_call() -> str:
    return f"{next(_numbers)}-{id(_numbers)}@example.org"


def basic(call: str, cseq: Any = "1", sender: str = ALICE, receiver: str = BOB) -> list[Any]:
    """A nat_basic as a StatelessProxy makes it; the cseq of a real one is a string."""
    return [call, cseq, sender, receiver, "sip:alice@example.org", "sip:bob@example.org"]


def is_bound(address: str, port: int) -> bool:
    family = socket_family(address)
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return True
    return False


def set_up(
    helper: PerlHelperClient, nat_basic: list[Any], offer: str = AUDIO, answer: str = AUDIO
) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """An active session; where the relay receives for the caller, and where for the callee."""
    towards_caller = helper.allocate(nat_basic, REQUEST, offer)
    towards_callee = helper.allocate(nat_basic, RESPONSE, answer)
    assert helper.activate(nat_basic) == 1
    return [(m[0], m[1]) for m in towards_caller], [(m[0], m[1]) for m in towards_callee]
