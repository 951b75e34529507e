"""`python -m nh.shard --link-fd N`: one shard process, started by the supervisor.

It does nothing but fork until the link says Configure (nh.shard.zygote). Signals are the supervisor's to
handle: a shard ends when it is told to over the link, or when the link has ended and no call is left.
"""

import contextlib
import gc
import logging
import signal
import socket
import sys
from pathlib import Path

from nh.loop import SelectorLoop
from nh.shard.zygote import wait_for_settings


def main() -> int:
    """Serve the link until it ends; returns the exit status."""
    gc.disable()  # what is imported leaves no garbage: collections would be a tenth of the start
    from nh.shard.control import Control  # noqa: PLC0415

    link_fd = int(sys.argv[sys.argv.index("--link-fd") + 1])
    # Ctrl-C reaches the whole process group: the supervisor ends the shards in order
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(
        stream=sys.stderr, format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"
    )
    _show_as("nh-spare")
    link = wait_for_settings(socket.socket(fileno=link_fd))
    _show_as("nh-shard")
    loop = SelectorLoop()
    control = Control(loop, link)
    # calls leave no cycles behind, so collections have next to nothing to find; one of all generations
    # takes 20 ms with 3,000 calls, in which no packet moves
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)
    gc.enable()
    try:
        loop.run()
    finally:
        control.close()
        loop.close()
    return control.exit_status


def _show_as(name: str) -> None:
    """What ps and top call this process, up to 15 characters."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name)


if __name__ == "__main__":
    sys.exit(main())
