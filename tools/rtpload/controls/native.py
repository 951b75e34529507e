"""nh's native protocol, on one connection."""

from nh.calls.media import Media, Side
from nh.client import NativeClient
from nh.commands import Activate, Allocate, Close, Ping
from nh.commands import TransactionKey as CallKey
from nh.errors import UnknownCall
from tools.rtpload.command_times import CommandTimes
from tools.rtpload.controls.netsip import medium, nat_basic, relay_end
from tools.rtpload.ends import MediaEnd, Targets, TransactionKey


class NativeControl:
    """See Control.

    Args:
        client: sends the commands of this control alone.
        listen: IP address on which the relay shall listen.
        times: where the time of each command is counted.
    """

    def __init__(self, client: NativeClient, listen: str, times: CommandTimes) -> None:
        self._client = client
        self._listen = listen
        self._times = times

    def check(self) -> None:
        """Ping."""
        self._client.request(Ping())

    def negotiate(self, key: TransactionKey, caller: MediaEnd, callee: MediaEnd, *, hold: bool) -> Targets:
        """Two allocates and one activate."""
        basic = nat_basic(key)
        for_caller = self._allocate(basic, Side.FROM, medium(caller, hold=hold))
        for_callee = self._allocate(basic, Side.TO, medium(callee))
        with self._times.measure("activate"):
            self._client.request(Activate(basic))
        return Targets(caller=for_callee, callee=for_caller)

    def tear_down(self, key: TransactionKey) -> None:
        """One close, as for BYE."""
        with self._times.measure("close"):
            closed = self._client.request(Close(nat_basic(key._replace(cseq=0))))
        if not closed.sessions:
            raise UnknownCall("close: the relay has no such session (any more)")

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def _allocate(self, basic: CallKey, side: Side, described: Media) -> MediaEnd:
        with self._times.measure("allocate"):
            [relay] = self._client.request(Allocate(basic, side, self._listen, (described,))).media
        return relay_end(relay.address, relay.port)
