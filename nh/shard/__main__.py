"""`python -m nh.shard --link-fd N`: one shard process, started by the supervisor.

Until Configure comes over the link, the process is a zygote and only forks (nh.shard.zygote). The supervisor
handles signals: a shard ends on Shutdown, or when the link has ended and no call is left.
"""

import contextlib
import gc
import signal
import socket
import sys
from pathlib import Path

from nh.errors import Unsupported
from nh.logs.lines import configure_logging
from nh.logs.settings import LogLevel, LogSettings
from nh.loop import SelectorLoop
from nh.shard.zygote import wait_for_settings


def main() -> int:
    """Serve the link until it ends.

    Returns:
        The exit status.
    """
    gc.disable()  # what is imported leaves no garbage: collections would be a tenth of the start
    from nh.shard.link.control import Control  # noqa: PLC0415

    if "--secure" in sys.argv:
        _load_security()
    link_fd = int(sys.argv[sys.argv.index("--link-fd") + 1])
    # Ctrl-C reaches the whole process group: the supervisor ends the shards in order
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure_logging(LogSettings(LogLevel.WARNING))  # until the settings come
    _show_as("nh-zygote")
    link = wait_for_settings(socket.socket(fileno=link_fd))
    loop = SelectorLoop()
    control = Control(loop, link, on_configured=lambda shard: _show_as(f"nh-shard-{shard}"))
    # Calls leave no cycles behind, so collections find next to nothing, and no packet moves meanwhile. One of
    # the youngest objects, those of 60 calls, takes a millisecond; one of all takes 20 ms with 3,000 calls.
    gc.freeze()
    gc.set_threshold(5_000, 1_000, 1_000)
    gc.enable()
    try:
        loop.run()
    finally:
        control.close()
        loop.close()
    return control.exit_status


def _load_security() -> None:
    """Load what SRTP and DTLS need: 0.1 s, in which media would wait at the first such call."""
    from nh.calls.protocols.dtls_security import require_dtls  # noqa: PLC0415  as in main()
    from nh.calls.protocols.media_security import require_srtp  # noqa: PLC0415

    with contextlib.suppress(Unsupported):  # such calls are refused, and the refusal says why
        require_srtp()
        require_dtls()


def _show_as(name: str) -> None:
    """Set the name of this process in ps and top, up to 15 characters."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name)


if __name__ == "__main__":
    sys.exit(main())
