"""What is at a path that an operator named, told alike by each version of Python.

Where this user may not look, and for a name that is too long, Path.exists() and Path.is_dir() raise an error
up to Python 3.13, and say from 3.14 on that nothing is there.
"""

from pathlib import Path


def mode_of(path: Path) -> int | None:
    """The type and the permissions of what is at a path (st_mode of stat(2)); None: nothing is there.

    Raises:
        OSError: what is there cannot be told: this user may not look, or the path cannot be one.
    """
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
