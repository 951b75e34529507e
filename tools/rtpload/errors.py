"""What can go wrong on the generator's side. What the relay refuses is a figure of the report."""


class LoadFailed(Exception):
    """The load cannot be begun or gone on with; the message says why and what to do."""


class NotConnected(Exception):
    """A browser has no keys; the message says how far it came."""


class PhonesUnavailable(Exception):
    """The generator has no sockets for a call; the message says why and what to do."""
