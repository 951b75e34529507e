"""Which connections are of one client."""

from nh.fair_shares import client_at


def client_of(client: tuple[str, int] | None) -> str:
    """Who is taken for one client, see client_at().

    Args:
        client: address and port; None: the connection has ended already.
    """
    return client_at(client[0]) if client else ""
