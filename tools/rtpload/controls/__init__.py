"""How a relay is told of calls, behind one small interface: the same load runs against different relays."""

from collections.abc import Callable

from nh.client import Client, NativeClient
from tools.rtpload.command_times import CommandTimes
from tools.rtpload.controls.direct import DirectControl
from tools.rtpload.controls.interface import Control
from tools.rtpload.controls.native import NativeControl
from tools.rtpload.controls.netsip import NetsipControl
from tools.rtpload.controls.ng import NgControl
from tools.rtpload.controls.retrying import RetryingControl
from tools.rtpload.options import ControlKind, LoadOptions

__all__ = ["Control", "control_factory"]


def control_factory(options: LoadOptions, times: CommandTimes) -> Callable[[], Control]:
    """What makes controls, one for each thread that uses it.

    Args:
        options: which protocol, where, and what media look like.
        times: where the time of each command is counted.
    """
    make = _plain_factory(options, times)
    if options.retry_s:
        return lambda: RetryingControl(make(), options.retry_s)
    return make


def _plain_factory(options: LoadOptions, times: CommandTimes) -> Callable[[], Control]:
    address, timeout_s, listen = options.address, options.timeout_s, options.listen_address
    match options.control:
        case ControlKind.NETSIP:
            return lambda: NetsipControl(Client(address, timeout_s), listen, times)
        case ControlKind.NATIVE:
            return lambda: NativeControl(NativeClient(address, timeout_s), listen, times)
        case ControlKind.NG:
            codec, packet_ms = options.media_codec, options.packet_ms
            return lambda: NgControl(
                address,
                timeout_s,
                codec,
                packet_ms,
                times,
                forks=options.forks,
                srtp=options.srtp,
                webrtc=options.webrtc,
            )
        case ControlKind.DIRECT:
            return DirectControl
