"""Net::SIP's protocol: nh and Perl's nathelper.pl understand it."""

from nh import commands
from nh.calls.media import Media, Side
from nh.client import Client, NatBasic
from nh.errors import MalformedFrame, Refused
from tools.rtpload.command_times import CommandTimes
from tools.rtpload.ends import Endpoint, MediaEnd, Targets, TransactionKey

RTP_AND_RTCP = 2


class NetsipControl:
    """See Control.

    Args:
        client: sends the commands.
        listen: IP address on which the relay shall listen.
        times: where the time of each command is counted.
    """

    def __init__(self, client: Client, listen: str, times: CommandTimes) -> None:
        self._client = client
        self._listen = listen
        self._times = times

    def check(self) -> None:
        """Close a session that there is not: the protocol has no ping."""
        self._client.close_session(["rtpload-check", None, "check", "check"])

    def negotiate(self, key: TransactionKey, caller: MediaEnd, callee: MediaEnd, *, hold: bool) -> Targets:
        """Two allocates and one activate."""
        basic = nat_basic(key)
        for_caller = self._allocate(basic, Side.FROM, medium(caller, hold=hold))
        for_callee = self._allocate(basic, Side.TO, medium(callee))
        with self._times.measure("activate"):
            if self._client.activate_session(basic) is None:
                raise Refused("activate: the relay refuses (undef)")
        # what stands in for the callee is where the caller sends
        return Targets(caller=for_callee, callee=for_caller)

    def tear_down(self, key: TransactionKey) -> None:
        """One close, as for BYE."""
        with self._times.measure("close"):
            if self._client.close_session(nat_basic(key._replace(cseq=0))) is None:
                raise Refused("close: the relay has no such session (any more)")

    def close(self) -> None:
        """See Control: no connection outlives its command."""

    def _allocate(self, basic: NatBasic, side: Side, described: Media) -> MediaEnd:
        with self._times.measure("allocate"):
            reply = self._client.allocate_sockets(basic, side, self._listen, [described])
        if reply is None:
            raise Refused("allocate: the relay refuses (undef): out of ports, or over a limit")
        if len(reply) != 1:
            raise MalformedFrame(f"allocate: {len(reply)} media for one")
        address, port, _ = reply[0]
        return relay_end(address, port)


def nat_basic(key: TransactionKey) -> commands.TransactionKey:
    """The key as nh has it; cseq 0 means all transactions."""
    return commands.TransactionKey(
        call_id=key.call_id.encode(),
        cseq=key.cseq or None,
        id_from=key.from_tag.encode(),
        id_to=key.to_tag.encode(),
    )


def medium(end: MediaEnd, *, hold: bool = False) -> Media:
    """The medium as its SDP has it; 0.0.0.0 for one that shall not be sent to (RFC 3264 8.4)."""
    address, port = end.rtp
    if hold:
        address = "::" if ":" in address else "0.0.0.0"
    return Media(address, port, RTP_AND_RTCP, "RTP/AVP", "audio")


def relay_end(address: str, port: int) -> MediaEnd:
    """The relay's ports for one end: RTCP is one above RTP."""
    return MediaEnd(Endpoint(address, port), Endpoint(address, port + 1))
