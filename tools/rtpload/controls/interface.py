"""What the load asks of a relay's control protocol: make a call's media flow, and end it."""

from typing import Protocol

from tools.rtpload.ends import MediaEnd, Targets, TransactionKey


class Control(Protocol):
    """A connection to a relay; used by one thread at a time.

    All methods raise NhError (Refused and below: the relay turns it down; Unavailable: no answer).
    """

    def check(self) -> None:
        """Return if the relay answers."""

    def negotiate(self, key: TransactionKey, caller: MediaEnd, callee: MediaEnd, *, hold: bool) -> Targets:
        """What INVITE and 200 OK do, or re-INVITE with a higher cseq: media between the two ends.

        Args:
            key: which call.
            caller, callee: where the phones are.
            hold: the caller does not want to receive for now. What it returns is of no use then.
        """

    def tear_down(self, key: TransactionKey) -> None:
        """What BYE does."""

    def close(self) -> None:
        """End the connection, if there is one."""
