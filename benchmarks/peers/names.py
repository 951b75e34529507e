"""Names of peers that figures treat differently from others."""

from typing import Final

DIRECT: Final = "direct"
FLOOR_C: Final = "floor-c"
FLOOR_PYTHON: Final = "floor-python"
FLOOR_C_COALESCED: Final = "floor-c-coalesced"
FLOOR_PYTHON_COALESCED: Final = "floor-python-coalesced"
NATHELPER: Final = "nathelper"
RTPENGINE: Final = "rtpengine"
NH: Final = "nh"
NH_KERNEL: Final = "nh-kernel"
NH_SHARDS: Final = "nh-shards"
