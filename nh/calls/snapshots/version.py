"""The version of the format of snapshots, for those too who never look into one."""

from typing import Final

VERSION: Final = 1
"""What this nh writes; fields that are added at the end of a struct do not change it."""

READABLE: Final = (1,)
"""What it reads."""
