"""The table of protocols that nh listens for, one row a protocol."""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from nh.address import RpcAddress, UnixAddress, parse_rpc_address
from nh.commands import Feature
from nh.exposure import RPC_EXPOSURE, Exposure
from nh.logs.throttle import RateLimitedLogger
from nh.rpc.events import Dispatch, Handler, RequestCounter, StreamProtocol
from nh.rpc.framed import CommandHandler, FramedProtocol

if TYPE_CHECKING:
    from nh.config import Settings


class HandlerContext(NamedTuple):
    """What the handler of a protocol works with.

    Attributes:
        now: the clock, monotonic seconds.
        dispatch: executes commands.
        counter: counts requests.
        limited_log: logs what clients do wrong.
        lenient: see nh.config.Settings.ng_lenient.
        notifies: whether the settings have a notify socket for clients of rtpproxy's protocol.
    """

    now: Callable[[], float]
    dispatch: Dispatch
    counter: RequestCounter
    limited_log: RateLimitedLogger
    lenient: Collection[Feature] = ()
    notifies: bool = False


class ServedProtocol(NamedTuple):
    """One row of the table.

    Attributes:
        name: what its sockets are called in logs and in a handover.
        addresses: where the settings say that nh listens for it.
        udp: whether each address has a UDP socket beside the TCP socket, on the same port.
        stream: makes the protocol of one connection, of the names of further commands, and whether the
            connection is on a Unix socket.
        handler: makes the handler of all its connections and datagrams.
        private: whether it is for a process of nh's own: its sockets admit this user alone, and the `ready`
            line does not name them.
        exposure: what follows if other hosts reach it.
    """

    name: str
    addresses: Callable[["Settings"], Sequence[RpcAddress]]
    udp: bool
    stream: Callable[[Collection[str], bool], StreamProtocol]
    handler: Callable[[HandlerContext], Handler]
    private: bool = False
    exposure: Exposure = RPC_EXPOSURE


RPC: Final = ServedProtocol(
    name="rpc",  # Net::SIP's and the native protocol
    addresses=lambda settings: [parse_rpc_address(text) for text in settings.rpc_addresses],
    udp=False,
    stream=lambda extensions, _local: FramedProtocol(extensions),
    handler=lambda context: CommandHandler(context.dispatch, context.counter, context.limited_log),
)


def _ng_stream(_extensions: Collection[str], _local: bool) -> StreamProtocol:
    from nh.rpc.ng import NgProtocol  # noqa: PLC0415  most relays have no ng address

    return NgProtocol()


def _ng_handler(context: HandlerContext, *, framed: bool = False) -> Handler:
    from nh.rpc.cookies import CookieHandler  # noqa: PLC0415
    from nh.rpc.ng import FramedNgCodec, NgCodec  # noqa: PLC0415

    return CookieHandler(
        (FramedNgCodec if framed else NgCodec)(context.lenient),
        context.now,
        context.dispatch,
        counter=context.counter,
        limited_log=context.limited_log,
    )


NG: Final = ServedProtocol(
    name="ng",
    addresses=lambda settings: settings.ng_addresses,
    udp=True,
    stream=_ng_stream,
    handler=_ng_handler,
)


def _framed_ng_stream(_extensions: Collection[str], _local: bool) -> StreamProtocol:
    from nh.rpc.ng import framed_ng_protocol  # noqa: PLC0415

    return framed_ng_protocol()


NG_OVER_HTTP: Final = ServedProtocol(
    name="ng-http",  # what the HTTP process (nh.http) was asked over HTTP and WebSocket
    addresses=lambda settings: (
        [UnixAddress(str(settings.runtime_path / "ng-http.sock"))] if settings.http_ng else []
    ),
    udp=False,
    stream=_framed_ng_stream,
    handler=lambda context: _ng_handler(context, framed=True),
    private=True,
)


def _rtpproxy_stream(_extensions: Collection[str], local: bool) -> StreamProtocol:
    from nh.rpc.rtpproxy import RtpproxyProtocol  # noqa: PLC0415

    return RtpproxyProtocol(local=local)


def _rtpproxy_handler(context: HandlerContext) -> Handler:
    from nh.rpc.cookies import CookieHandler  # noqa: PLC0415
    from nh.rpc.reply_cache import ReplyCache  # noqa: PLC0415
    from nh.rpc.rtpproxy import KEEP_S, RtpproxyCodec  # noqa: PLC0415

    return CookieHandler(
        RtpproxyCodec(notifies=context.notifies),
        context.now,
        context.dispatch,
        counter=context.counter,
        limited_log=context.limited_log,
        replies=ReplyCache(keep_s=KEEP_S),
    )


RTPPROXY: Final = ServedProtocol(
    name="rtpproxy",
    addresses=lambda settings: settings.rtpproxy_addresses,
    udp=True,
    stream=_rtpproxy_stream,
    handler=_rtpproxy_handler,
)

PROTOCOLS: Final = (RPC, NG, NG_OVER_HTTP, RTPPROXY)
"""All protocols."""


def most_connections(settings: "Settings") -> int:
    """How many connections clients may have at once: `max_clients` for each protocol that nh listens for."""
    served = [each for each in PROTOCOLS if not each.private and each.addresses(settings)]
    return settings.max_clients * len(served)
