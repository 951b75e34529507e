"""The command `nh`, also as `python -m nh`."""

import gc

from nh.interrupt import SilentInterrupt

with SilentInterrupt():
    from nh.start_again import start_again


def main() -> None:
    """Run the command line."""
    try:
        _run()
    except (ImportError, MemoryError, OSError) as exc:
        start_again(exc)
        raise


def _run() -> None:
    gc.disable()  # imports leave next to no garbage, and collections would be a tenth of the start
    with SilentInterrupt():
        from nh.cli.main import app  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    app(prog_name="nh")


if __name__ == "__main__":
    main()
