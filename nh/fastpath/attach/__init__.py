"""Attaching the program to interfaces: TCX links, or clsact filters on kernels without TCX."""

import enum


class AttachMode(enum.StrEnum):
    """How the program is attached: as a TCX link (Linux 6.6 and newer), or as a clsact filter.

    AUTO: as a link where the kernel has TCX.
    """

    AUTO = "auto"
    TCX = "tcx"
    CLSACT = "clsact"
