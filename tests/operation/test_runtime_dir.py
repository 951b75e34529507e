"""Another runtime directory in the file of settings: the next nh would find neither calls nor shards."""

import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from nh.cli.main import app
from tools.harness.own_directory import own_directory
from tools.harness.ports import claim_ports, min_max
from tools.harness.program import Program


def test_a_reload_says_that_it_needs_a_restart_and_an_upgrade_is_refused() -> None:
    with own_directory() as directory:
        assert_told_and_refused(directory)


def assert_told_and_refused(directory: Path) -> None:
    config, before, after = directory / "nh.toml", directory, directory / "after"

    def write(runtime_dir: Path) -> None:
        config.write_text(f"runtime_dir = '{runtime_dir}'\nports = '{ports}'\nshards = 1\nstate = 'off'\n")

    def nh(command: str) -> Result:
        return CliRunner().invoke(app, [command, "--runtime-dir", str(before)])

    with claim_ports(20) as claimed:
        ports = min_max(claimed)
        write(before)
        with Program([sys.executable, "-m", "nh", "run", "--config", str(config)]) as program:
            program.wait_for_line("ready")
            write(after)
            assert nh("reload").stdout == "nothing to apply\na restart of nh applies: runtime_dir\n"
            refused = nh("upgrade")
            assert refused.exit_code == 1
            assert refused.stderr.splitlines()[-1] == (
                f"nh: everything stays as it is: runtime_dir: {after} is not {before}, where the next nh"
                " finds the calls; set it back, or end nh and start it again"
            )
            assert nh("reload").exit_code == 0, "it goes on"
        assert not after.exists()
