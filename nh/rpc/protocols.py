"""The table of protocols that nh listens for, one row a protocol."""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from nh.address import RpcAddress, parse_rpc_address
from nh.rpc.cookies import CookieHandler
from nh.rpc.events import Dispatch, Handler, RequestCounter, StreamProtocol
from nh.rpc.framed import CommandHandler, FramedProtocol
from nh.rpc.ng import NgCodec, NgProtocol
from nh.throttle import RateLimitedLogger

if TYPE_CHECKING:
    from nh.config import Settings


class ServedProtocol(NamedTuple):
    """One row of the table.

    Attributes:
        name: what its sockets are called in logs and in a handover.
        addresses: where the settings say that nh listens for it.
        udp: whether each address has a UDP socket beside the TCP socket, on the same port.
        stream: makes the protocol of one connection; its argument are names of further commands.
        handler: makes the handler of all its connections and datagrams.
    """

    name: str
    addresses: Callable[["Settings"], Sequence[RpcAddress]]
    udp: bool
    stream: Callable[[Collection[str]], StreamProtocol]
    handler: Callable[[Callable[[], float], Dispatch, RequestCounter, RateLimitedLogger], Handler]


RPC: Final = ServedProtocol(
    name="rpc",  # Net::SIP's and the native protocol
    addresses=lambda settings: [parse_rpc_address(text) for text in settings.rpc_addresses],
    udp=False,
    stream=FramedProtocol,
    handler=lambda _now, dispatch, counter, log: CommandHandler(dispatch, counter, log),
)

NG: Final = ServedProtocol(
    name="ng",
    addresses=lambda settings: settings.ng_addresses,
    udp=True,
    stream=lambda _extensions: NgProtocol(),
    handler=lambda now, dispatch, counter, log: CookieHandler(
        NgCodec(), now, dispatch, counter=counter, limited_log=log
    ),
)

PROTOCOLS: Final = (RPC, NG)
"""All protocols."""
