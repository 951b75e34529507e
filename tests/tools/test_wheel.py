"""The wheel and the sdist: what they have, and that nh works from the wheel in an environment of its own."""

import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.harness.ports import min_max
from tools.harness.program import Program
from tools.harness.relay import Place, place_for_relay

ROOT = Path(__file__).parents[2]
BUILD = "import hatchling.build as it, sys; print(it.build_{}(sys.argv[1]))"

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(300),  # the wheel is built: 7 s, and many times that where others use the CPUs
]


def run(*words: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(kind: str, source: Path, place: Path) -> Path:
    """A wheel or sdist, built as pip builds it."""
    lines = run(sys.executable, "-c", BUILD.format(kind), place, cwd=source).split()
    return place / lines[-1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where things are built."""
    made: Path = tmp_path_factory.mktemp("wheel")
    return made


@pytest.fixture(scope="module")
def wheel(place: Path) -> Path:
    """The wheel of the source tree."""
    return build("wheel", ROOT, place)


@pytest.fixture(scope="module")
def environment(wheel: Path, place: Path) -> Path:
    """An environment with the wheel. What nh needs is that of the tests' own: PyPI is not asked."""
    made = place / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", made)
    (packages,) = made.glob("lib/python3*/site-packages")
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib"))
    python = made / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        wheel,
    )
    where = run(python, "-c", "import nh; print(nh.__file__)", cwd=place).strip()
    assert where.startswith(str(packages))
    return made


@pytest.fixture(scope="module")
def relay(environment: Path) -> Iterator[Place]:
    """nh, run from that environment."""
    with place_for_relay() as found:
        words = ["--shards", "1", "--runtime-dir", str(found.directory), "--ports", min_max(found.ports)]
        with Program([str(environment / "bin/nh"), "run", "--no-state", *words]) as program:
            program.wait_for_line("ready")
            yield found
            assert program.stop() == 0, program.output


def test_a_wheel_that_is_built_from_the_sdist_is_that_of_the_source_tree(wheel: Path, place: Path) -> None:
    sdist = build("sdist", ROOT, place)
    (place / "unpacked").mkdir()
    # Debian 12's tarfile knows no filter, and later ones warn without one
    subprocess.run(["tar", "--extract", f"--file={sdist}", "--directory", place / "unpacked"], check=True)
    (source,) = (place / "unpacked").iterdir()
    (place / "again").mkdir()
    again = build("wheel", source, place / "again")
    names = [set(zipfile.ZipFile(it).namelist()) for it in (wheel, again)]
    assert names[0] == names[1]


def test_calls_are_relayed_by_the_installed_nh_and_its_load_generator(
    environment: Path, relay: Place
) -> None:
    directory = {"NH_RUNTIME_DIR": str(relay.directory)}
    with Program(
        [str(environment / "bin/nh"), "load", "--calls", "2", "--time-s", "0.5", "--drain-s", "20"], directory
    ) as load:
        assert load.wait(90) == 0, load.output
        assert "Every packet arrived." in load.output


def test_the_installed_nh_says_that_it_is_well(environment: Path, relay: Place) -> None:
    said = run(environment / "bin/nh", "health", "--runtime-dir", str(relay.directory))
    assert "1 of 1 shard up" in said


def test_units_and_alerts_are_beside_it(environment: Path) -> None:
    shared = {path.name for path in (environment / "share/nh").iterdir()}
    assert shared == {"nh.service", "nh.sysusers.conf", "nh-alerts.yml", "nh-dashboard.json"}


def test_the_installed_nh_writes_its_man_pages(environment: Path, tmp_path: Path) -> None:
    run(environment / "bin/python", "-m", "nh.bundled.tools.man_pages", tmp_path, cwd=tmp_path)
    assert {"nh.1", "nh-run.1", "nh-load.1"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(environment: Path, shell: str) -> None:
    script = run("env", f"_NH_COMPLETE=source_{shell}", environment / "bin/nh")
    assert f"_NH_COMPLETE=complete_{shell}" in script
