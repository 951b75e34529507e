"""Why there are no keys."""

import enum


class Problem(enum.StrEnum):
    """Why there are no keys, or why a handshake came to nothing; for people, too.

    FINGERPRINT: the certificate is not that of the SDP.
    PROFILE: the end has no protection profile in common with nh.
    ALERT: the end has sent an alert.
    FAILED: what it sent is no handshake that nh takes.
    TIMEOUT: it did not go on.
    BUSY: too many handshakes run at the same time.
    """

    FINGERPRINT = "fingerprint differs from the SDP"
    PROFILE = "no protection profile in common"
    ALERT = "the end sent an alert"
    FAILED = "the handshake failed"
    TIMEOUT = "the end did not finish the handshake"
    BUSY = "too many handshakes at the same time"
