"""tools/packaging: the files for Docker and Kubernetes are right about nh, and linters accept them."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from nh.config import Settings
from nh.version import __version__

PACKAGING = Path(__file__).parents[2] / "tools" / "packaging"
DOCKER = PACKAGING / "docker"
DOCKERFILE = DOCKER / "Dockerfile"
MANIFEST = PACKAGING / "kubernetes" / "nh.yaml"
SETTINGS = set(Settings.__struct_fields__)


def resources() -> dict[str, Any]:
    """The resources of the manifest, by kind."""
    return {each["kind"]: each for each in yaml.safe_load_all(MANIFEST.read_text())}


def container() -> Any:
    """The container of nh."""
    (found,) = resources()["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    return found


def settings_in(names: Any) -> set[str]:
    """The names of settings among those of variables."""
    return {name.removeprefix("NH_").lower() for name in names if name.startswith("NH_")}


def linter(name: str) -> str:
    """A program of the group `packaging`, or of the host."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}: pip install --group packaging")
    return found


def test_variables_are_settings() -> None:
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    image = re.findall(r"\bNH_\w+(?==)", DOCKERFILE.read_text())
    assert settings_in(compose["services"]["nh"]["environment"]) == {"address", "ng", "http"}
    assert settings_in(image) == {"runtime_dir", "state"}
    assert settings_in(each["name"] for each in container()["env"]) == {"address", "shards"}


def test_the_file_of_settings_is_one_of_nh() -> None:
    text = resources()["ConfigMap"]["data"]["nh.toml"]
    assert set(tomllib.loads(text)) <= SETTINGS


def test_the_user_of_the_manifest_is_that_of_the_image() -> None:
    (user,) = set(re.findall(r"(?:--[ug]id|^USER) (\d+)", DOCKERFILE.read_text(), re.MULTILINE))
    assert container()["securityContext"]["runAsUser"] == int(user)
    (first,) = resources()["DaemonSet"]["spec"]["template"]["spec"]["initContainers"]
    assert first["command"][:2] == ["chown", f"{user}:{user}"]


def test_the_manifest_takes_the_image_of_this_version() -> None:
    assert container()["image"] == f"nh:{__version__}"


def test_the_next_pod_starts_beside_the_old_one() -> None:
    """It takes the calls over; a declared port of the host would keep it from the node."""
    update = resources()["DaemonSet"]["spec"]["updateStrategy"]["rollingUpdate"]
    assert update == {"maxSurge": 1, "maxUnavailable": 0}
    assert "ports" not in container()


def test_capabilities_are_those_of_the_path_in_the_kernel() -> None:
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    assert set(compose["services"]["nh"]["cap_add"]) == {"BPF", "NET_ADMIN"}
    assert set(container()["securityContext"]["capabilities"]["add"]) == {"BPF", "NET_ADMIN"}
    assert "setcap cap_bpf,cap_net_admin+ep" in DOCKERFILE.read_text()


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.kamailio"])
def test_hadolint_has_nothing_to_say(name: str) -> None:
    words = [linter("hadolint"), "--failure-threshold", "style", "--ignore", "DL3066", str(DOCKER / name)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("version", ["1.25", "1.30", ""], ids=["oldest", "later", "latest"])
def test_kubernetes_knows_each_field_of_the_manifest(version: str) -> None:
    which = ["--kubernetes-version", version] if version else []
    words = [linter("kubernetes-validate"), "--strict", *which, str(MANIFEST)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["nh", "nh-pod"])
def test_scripts_are_shell(name: str) -> None:
    done = subprocess.run(["sh", "-n", DOCKER / name], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
