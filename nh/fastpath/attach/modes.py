"""The ways to hang the program in, as settings name them."""

import enum


class AttachMode(enum.StrEnum):
    """How the program in the kernel is hung in: as a TCX link (Linux 6.6 and newer), or as a clsact filter.

    AUTO: as a link where the kernel knows that.
    """

    AUTO = "auto"
    TCX = "tcx"
    CLSACT = "clsact"
