"""`nh run` with fake_shard.py for shards: settings from the environment, arguments for the fake shards.

`--takeover` is an argument of `nh run`.
"""

import sys
from pathlib import Path

import nh
from nh.config.sources import read_settings
from nh.supervisor.main import run

if __name__ == "__main__":
    fake_shard = str(Path(__file__).with_name("fake_shard.py"))
    options = [word for word in sys.argv[1:] if word != "--takeover"]
    argv = [sys.executable, "-P", fake_shard, "--version", nh.__version__, *options]
    takeover = "--takeover" in sys.argv
    sys.exit(run(read_settings, takeover=takeover, shard_argv=argv))
