"""Replies: sends results of commands, each with what the supervisor has to back up before it replies."""

import logging
from collections.abc import Sequence

from nh.errors import ChannelFull, NhError
from nh.ipc.backup_messages import BackupMessage
from nh.ipc.channel import MAX_FDS, Channel
from nh.ipc.link_messages import MAX_MESSAGE_BYTES, Executed, encode
from nh.results import Failure, Queried, RelayResult
from nh.shard.recovery.checkpoint_link import LinkCheckpointSink

logger = logging.getLogger(__name__)


class Replies:
    """Sends the result of each Execute.

    Args:
        channel: the link to the supervisor.
        sink: has collected what the command changed, since its hold().
    """

    def __init__(self, channel: Channel, sink: LinkCheckpointSink) -> None:
        self._channel = channel
        self._sink = sink

    def send(self, request_id: int, result: RelayResult) -> None:
        """Send the result of a command by its id, together with what it changed if one record has room."""
        if not self._sink.flush(lambda backup, fds: self._send_with(request_id, result, backup, fds)):
            self._send_alone(request_id, result)

    def _send_with(
        self, request_id: int, result: RelayResult, backup: tuple[BackupMessage, ...], fds: Sequence[int]
    ) -> bool:
        record = encode(Executed(request_id, result, backup))
        if len(record) > MAX_MESSAGE_BYTES or len(fds) > MAX_FDS:
            return False
        try:
            self._channel.send(record, fds)
        except ChannelFull:
            return False
        return True

    def _send_alone(self, request_id: int, result: RelayResult) -> None:
        record = encode(Executed(request_id, result))
        if len(record) > MAX_MESSAGE_BYTES and isinstance(result, Queried):
            # a delete has taken effect: it must not look as if it had failed
            record = encode(Executed(request_id, result.without_details()))
        if len(record) > MAX_MESSAGE_BYTES:
            failure = Failure("limit", f"the answer has {len(record)} bytes, more than {MAX_MESSAGE_BYTES}")
            record = encode(Executed(request_id, failure))
        try:
            self._channel.send(record)
        except NhError as exc:
            logger.error(
                "a reply is dropped, because the supervisor does not read: %s; its client gets `timeout`", exc
            )
