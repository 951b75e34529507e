"""Pours many records into a channel, as fast as the other side takes them: more than may wait in it."""

from collections.abc import Iterator, Sequence

from nh.ipc.channel import Channel

Record = tuple[bytes, Sequence[int]]
"""A record, and the descriptors that go with it."""


class Pouring:
    """Records on their way.

    Arguments:
        channel: see Channel; its on_drained has to call go_on().
        records: made one by one, just before they are sent.
    """

    def __init__(self, channel: Channel, records: Iterator[Record]) -> None:
        self._channel = channel
        self._records = records

    def go_on(self) -> None:
        """Send what the kernel takes now. Raises ChannelFull where descriptors cannot wait."""
        while not self._channel.queued and not self._channel.closed:
            record = next(self._records, None)
            if record is None:
                return
            self._channel.send(*record)
