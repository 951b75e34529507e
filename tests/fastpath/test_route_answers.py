"""nh.fastpath.netlink.routes beside a kernel that answers as this host's does seldom or never."""

import contextlib
import errno
import os
import struct

import pytest

from nh.fastpath.netlink import routes as routes_module
from nh.fastpath.netlink.messages import ERROR, HEADER, attribute
from nh.fastpath.netlink.routes import NoRoute, Routes

# linux/rtnetlink.h: RTM_NEWROUTE, RTN_UNICAST, RTA_ENCAP
NEW_ROUTE, UNICAST, ENCAPSULATION = 24, 1, 22

NOT_TOLD = NoRoute("the kernel did not say", sure=False)


class Answer:
    """A message of the kernel, by default to the latest request.

    Args:
        kind: its type.
        body: what follows the header.
        age: how many requests before the latest it answers.
    """

    def __init__(self, kind: int, body: bytes, age: int = 0) -> None:
        self._kind, self._body, self._age = kind, body, age

    def to(self, sequence: int) -> bytes:
        """The datagram, if the latest request has this number."""
        length = HEADER.size + len(self._body)
        return HEADER.pack(length, self._kind, 0, sequence - self._age, 0) + self._body


class ScriptedKernel:
    """A socket of rtnetlink that has these answers to the one request that is sent."""

    def __init__(self, *answers: Answer | OSError) -> None:
        self._answers = [*answers]
        self._sequence = 0

    def send(self, request: bytes) -> None:
        self._sequence = HEADER.unpack_from(request)[3]

    def recv(self, _size: int) -> bytes:
        answer = self._answers.pop(0) if self._answers else BlockingIOError()
        if isinstance(answer, OSError):
            raise answer
        return answer.to(self._sequence)

    def close(self) -> None:
        pass


def unreachable(age: int = 0) -> Answer:
    return Answer(ERROR, struct.pack("=i", -errno.ENETUNREACH), age)


def route(*attributes: bytes) -> Answer:
    return Answer(NEW_ROUTE, struct.pack("=8BI", 2, 32, 32, 0, 254, 0, 0, UNICAST, 0) + b"".join(attributes))


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((), NOT_TOLD),
        ((OSError(errno.ENOBUFS, "x"),), NoRoute("the kernel could not be asked: x", sure=False)),
        ((unreachable(age=1), unreachable(age=1)), NOT_TOLD),
        (
            (unreachable(age=1), route(attribute(ENCAPSULATION, b""))),
            NoRoute("its route encapsulates packets"),
        ),
        ((route(),), NoRoute("its route names no interface")),
    ],
    ids=["none", "a fault", "to earlier requests", "to this one at last", "without an interface"],
)
def test_a_flow_has_a_way_only_by_an_answer_to_its_own_request_that_names_an_interface(
    answers: tuple[Answer | OSError, ...], expected: NoRoute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_module, "open_socket", lambda: ScriptedKernel(*answers))
    with contextlib.closing(Routes()) as routes:
        assert routes.find("192.0.2.7", "10.1.0.1") == expected


def test_without_an_answer_for_its_own_user_a_flow_has_no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule by user may lead its sockets elsewhere."""
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    monkeypatch.setattr(routes_module, "open_socket", lambda: ScriptedKernel(unreachable()))
    with contextlib.closing(Routes()) as routes:
        assert routes.find("192.0.2.7", "10.1.0.1") == NOT_TOLD
