"""The command `nh`, also as `python -m nh`."""

import gc

from nh.interrupt import silent_interrupt


def main() -> None:
    """Run the command line."""
    gc.disable()  # imports leave next to no garbage, and collections would be a tenth of the start
    with silent_interrupt():
        from nh.cli.main import app  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    app(prog_name="nh")


if __name__ == "__main__":
    main()
