"""tools/packaging: the Debian package builds, and lives its life in a container of its own."""

import gzip
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nh.config import Settings
from tests.test_docs import links
from tools.packaging.deb import obstacle
from tools.systemd.trial.package import STEPS

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "tools" / "packaging" / "debian"
LIFE_S = 900
"""Debian is fetched once, the package is built, and a container lives."""


def test_the_settings_of_the_package_are_settings_of_nh() -> None:
    text = re.sub(r"^#(?=\w+ = )", "", (DEBIAN / "nh.toml").read_text(), flags=re.MULTILINE)
    settings = tomllib.loads(text)
    assert len(settings) > 5
    assert set(settings) <= set(Settings.__struct_fields__)
    assert "rpc_group" not in settings, "nh.service forbids chown: nh would not start"


@pytest.mark.parametrize("recipe", [DEBIAN / "rules", DEBIAN.parent / "docker" / "Dockerfile"])
def test_packages_have_every_extra(recipe: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"'.[{','.join(sorted(project['optional-dependencies']))}]'" in recipe.read_text()


def test_the_package_is_upgraded_without_a_restart() -> None:
    """debhelper's default restarts the unit."""
    rules = (DEBIAN / "rules").read_text()
    assert "dh_installsystemd --no-start --no-stop-on-upgrade --no-restart-after-upgrade" in rules
    assert "systemctl reload nh.service" in (DEBIAN / "nh.postinst").read_text()


@pytest.mark.parametrize("name", ["nh.postinst", "nh.prerm", "nh.postrm"])
def test_the_scripts_of_the_package_are_shell(name: str) -> None:
    done = subprocess.run(["sh", "-n", DEBIAN / name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built."""
    if found := obstacle():
        pytest.skip(found)
    built = run("tools.packaging.deb", str(tmp_path_factory.mktemp("package")))
    assert built.returncode == 0, built.stderr
    return Path(built.stdout.strip())


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.timeout(LIFE_S)
def test_the_package_has_what_its_page_says_is_in_usr_share_doc(package: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--extract", package, tmp_path], check=True)
    documents = tmp_path / "usr/share/doc/nh"
    packages = (documents / "python-packages").read_text().splitlines()
    assert {"msgspec", "typer", "valkey"} <= {line.partition("==")[0] for line in packages}
    assert (documents / "CHANGELOG.md").read_text().startswith("# Changelog\n")
    assert gzip.decompress((documents / "changelog.gz").read_bytes()).startswith(b"nh (")
    assert (documents / "docs/README.md").is_file()
    assert {path.name for path in (documents / "examples").iterdir()} == {
        "nh-alerts.yml",
        "nh-dashboard.json",
    }
    pages = sorted(documents.rglob("*.md"))
    assert [str(file) for page in pages for file, _ in links(page) if not file.exists()] == []


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.timeout(LIFE_S)
@pytest.mark.skipif(shutil.which("lintian") is None, reason="needs lintian: apt-get install lintian")
def test_lintian_has_nothing_to_say(package: Path) -> None:
    words = ["lintian", "--allow-root", "--fail-on", "error,warning", str(package)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.timeout(LIFE_S)
def test_the_package_is_installed_upgraded_under_calls_removed_and_purged(package: Path) -> None:
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.skip("needs root and debootstrap: apt-get install debootstrap")
    trial = run("tools.systemd.trial", "--deb", str(package), "--calls", "5")
    if trial.returncode == 2:
        pytest.skip(f"the container could not be tried: {trial.stderr}")
    assert trial.returncode == 0, trial.stdout
    assert f"{len(STEPS)} steps, 0 in which" in trial.stdout


def run(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
