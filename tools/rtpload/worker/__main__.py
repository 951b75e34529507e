"""One process of the generator: sends and receives the media of its calls, and does nothing else.

`python -m tools.rtpload.worker --link-fd N` is started by the coordinator and takes its
orders from that socket.
"""

from tools.ending import end_in_order

if __name__ == "__main__":
    end_in_order()  # from here on: it covers the imports, too

import argparse
import contextlib
import gc
import os
import signal
import socket

from nh.wire.framing import Framer
from tools.rtpload.messages import MAX_MESSAGE_BYTES, Configure, decode_order
from tools.rtpload.worker.worker import Worker


def read_configuration(link: socket.socket) -> Configure | None:
    """The first order, or None if the coordinator is gone."""
    framer = Framer(MAX_MESSAGE_BYTES)
    while (payload := framer.next_frame()) is None:
        data = link.recv(1)  # one at a time: what follows is the worker's to read
        if not data:
            return None
        framer.feed(data)
    order = decode_order(payload)
    if not isinstance(order, Configure):
        raise TypeError(f"{type(order).__name__} before Configure")
    return order


def main() -> None:
    """The process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator handles Ctrl-C
    parser = argparse.ArgumentParser(prog="python -m tools.rtpload.worker")
    parser.add_argument("--link-fd", type=int, required=True)
    link = socket.socket(fileno=parser.parse_args().link_fd)
    common = read_configuration(link)
    if common is None:
        return
    if common.cpus:
        os.sched_setaffinity(0, common.cpus)
    with contextlib.suppress(PermissionError):  # the report says how late it was in any case
        os.nice(common.nice)
    gc.disable()  # a collection would hold up thousands of packets, and nothing here is cyclic
    worker = Worker(link, common)
    try:
        worker.run()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the coordinator is gone, and the calls with it
    finally:
        worker.close()


if __name__ == "__main__":
    main()
