"""No relay at all: the phones send to each other. What the generator and the host cost by themselves."""

from tools.rtpload.ends import MediaEnd, Targets, TransactionKey


class DirectControl:
    """See Control; it sends no command."""

    def check(self) -> None:
        """There is no relay to ask."""

    def negotiate(
        self,
        key: TransactionKey,  # noqa: ARG002  Control's
        caller: MediaEnd,
        callee: MediaEnd,
        *,
        hold: bool,  # noqa: ARG002  Control's
    ) -> Targets:
        """Each phone sends to the other."""
        return Targets(caller=callee, callee=caller)

    def tear_down(self, key: TransactionKey) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""
