"""Commands without an answer are sent again, and what the first try did is no error of the second."""

import pytest

from nh.errors import NhError, PortsExhausted, Unavailable, UnknownCall
from tools.rtpload.controls.retrying import RetryingControl
from tools.rtpload.ends import Endpoint, MediaEnd, Targets, TransactionKey

KEY = TransactionKey("call", "from", "to", 1)
END = MediaEnd(Endpoint("127.0.0.1", 4000), Endpoint("127.0.0.1", 4001))


class Script:
    """A control whose tries end as told: an error, or well."""

    def __init__(self, *ends: NhError | None) -> None:
        self.ends = list(ends)

    def check(self) -> None:
        self._end()

    def negotiate(self, key: TransactionKey, caller: MediaEnd, callee: MediaEnd, *, hold: bool) -> Targets:
        self._end()
        return Targets(caller, callee)

    def tear_down(self, key: TransactionKey) -> None:
        self._end()

    def close(self) -> None:
        pass

    def _end(self) -> None:
        if error := self.ends.pop(0):
            raise error


def test_a_command_without_an_answer_is_sent_again() -> None:
    script = Script(Unavailable("no"), Unavailable("no"), None)
    assert RetryingControl(script, 5).negotiate(KEY, END, END, hold=False) == Targets(END, END)
    assert not script.ends


def test_it_gives_up_some_time() -> None:
    script = Script(*[Unavailable("no")] * 100)
    with pytest.raises(Unavailable):
        RetryingControl(script, 0.1).check()
    assert len(script.ends) > 90


def test_what_is_refused_is_not_sent_again() -> None:
    with pytest.raises(PortsExhausted):
        RetryingControl(Script(PortsExhausted("none"), None), 5).negotiate(KEY, END, END, hold=False)


def test_a_call_that_the_first_try_ended_is_ended() -> None:
    RetryingControl(Script(Unavailable("no"), UnknownCall("gone")), 5).tear_down(KEY)


def test_a_call_that_was_not_there_at_the_first_try_is_an_error() -> None:
    with pytest.raises(UnknownCall):
        RetryingControl(Script(UnknownCall("gone")), 5).tear_down(KEY)
