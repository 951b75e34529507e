"""The certificate of a relay for new calls with DTLS."""

import time

from nh.dtls.certificate import Certificate


class Certificates:
    """Makes a certificate for the first call that needs one, and a new one in time before it expires.

    Calls keep theirs: it is in their snapshots. So no other process has to know it.
    """

    def __init__(self) -> None:
        self._current: Certificate | None = None

    def current(self) -> Certificate:
        """The certificate for a new call."""
        from nh.dtls.identity import RENEWED_S, new_certificate  # noqa: PLC0415  most relays never get here

        wall = time.time()
        # a clock that was set back makes a new one, too
        if self._current is None or not 0 <= wall - self._current.made < RENEWED_S:
            self._current = new_certificate(wall=wall)
        return self._current
