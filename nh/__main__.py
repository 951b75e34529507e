"""`python -m nh`: the same as the command `nh`."""

from nh.cli.main import app

if __name__ == "__main__":
    app(prog_name="nh")
