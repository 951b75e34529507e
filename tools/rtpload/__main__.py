"""The load generator: `python -m tools.rtpload ADDRESS`, or `nh load`."""

import sys

from nh.interrupt import SilentInterrupt

with SilentInterrupt():
    from tools.ending import end_in_order


def main() -> int:
    """Run the command line; returns the exit status."""
    end_in_order()
    with SilentInterrupt():
        from tools.rtpload.cli import run  # noqa: PLC0415

    return run()


if __name__ == "__main__":
    sys.exit(main())
