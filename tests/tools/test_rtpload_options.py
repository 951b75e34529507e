"""Options that cannot be used are refused before a load begins, with what would do."""

import os
import resource
from collections.abc import Iterator
from typing import Any

import pytest

from nh.errors import ConfigError
from tools.rtpload.codec import CODECS
from tools.rtpload.coordinator.descriptors import provide_descriptors
from tools.rtpload.errors import LoadFailed
from tools.rtpload.flags import parse_cpus
from tools.rtpload.options import PACKETS_PER_PROCESS, ControlKind, LoadOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"calls": 0}, "calls"),
        ({"packet_ms": 0}, "packet_ms"),
        ({"time_s": float("nan")}, "time_s"),
        ({"one_way": 1.5}, "one_way"),
        ({"hold": 0.7, "reinvite": 0.7}, "hold and reinvite"),
        ({"forks": 101, "control": ControlKind.NG}, "forks"),
        ({"forks": 1}, "only ng's calls have branches"),
        ({"srtp": "AEAD_AES_128_GCM"}, "only ng's calls have SRTP"),
        ({"srtp": "F8_128_HMAC_SHA1_80", "control": ControlKind.NG}, "is none of AES_CM_128"),
        ({"webrtc": True, "control": ControlKind.NG}, "webrtc: set srtp"),
        ({"handshakes_at_once": True}, "only browsers have handshakes"),
        ({"video": True}, "only browsers have a bundle"),
        ({"video": True, "webrtc": True, "srtp": "AEAD_AES_128_GCM", "codec": "h264"}, "set codec to one of"),
        ({"codec": "mp3"}, "pcmu"),
        ({"codec": "g729", "packet_ms": 10}, "10 bytes"),
        ({"payload_bytes": 9000}, "9000 bytes"),
        ({"duration": "often"}, "duration"),
        ({"relay_address": "relay.example.org"}, "not an IP address"),
        ({"relay_address": "::1"}, "IPv4"),
        ({"ipv6": True, "phone_addresses": ("127.0.0.1",)}, "IPv6"),
        ({"relay_pid": "nh"}, "relay_pid"),
        ({"cpus": (100_000,)}, "CPU 100000"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LoadOptions(address="x/y", **options).check()


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_every_codec_works_at_20_ms(codec: str) -> None:
    LoadOptions(address="x/y", codec=codec).check()


def test_presets_have_the_sizes_of_the_rfcs() -> None:
    sizes = {name: codec.payload_bytes(20) for name, codec in CODECS.items()}
    assert (sizes["pcmu"], sizes["gsm"], sizes["g729"]) == (160, 33, 20)
    assert CODECS["opus"].timestamp_step(20) == 960
    assert CODECS["opus"].rtpmap == "opus/48000/2"


def test_there_are_as_many_workers_as_packets_and_sockets_need() -> None:
    cpus = len(os.sched_getaffinity(0))
    assert LoadOptions(address="", calls=10).worker_count(20_000) == 1
    busy = LoadOptions(address="", calls=PACKETS_PER_PROCESS)
    assert busy.worker_count(10**9) == cpus
    assert busy.worker_count(20_000) == PACKETS_PER_PROCESS * 4 / 20_000
    assert LoadOptions(address="", processes=7).worker_count(20_000) == 7


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("few_descriptors")
def test_the_soft_limit_is_raised_as_far_as_it_is_needed() -> None:
    assert provide_descriptors(LoadOptions(address="", calls=200, processes=1)) == 1
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 200 * 4


def test_too_few_descriptors_are_found_out_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, 1000))
    with pytest.raises(LoadFailed, match=r"need 8064 descriptors.*1000.*--processes 9"):
        provide_descriptors(LoadOptions(address="", calls=2000, processes=1))
    assert provide_descriptors(LoadOptions(address="", calls=2000)) >= 9


@pytest.mark.parametrize(("text", "cpus"), [("", ()), ("3", (3,)), ("4,0-2", (0, 1, 2, 4))])
def test_cpu_lists_are_read(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpus(text) == cpus


@pytest.mark.parametrize("text", ["a", "1-", "-1", "1-2-3", "1;2"])
def test_what_is_no_cpu_list_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="cpus"):
        parse_cpus(text)
