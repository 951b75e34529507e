"""Calls by sipp through Kamailio, whose voice comes back by echo: RTP both ways through the relay."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ng.client import NgClient
from tests.ng.kamailio import Kamailio, running_kamailio
from tests.ng.relays import NgRelay, call_ids
from tests.sip.proxy import FAR, NEAR
from tools.harness.ports import claim_ports
from tools.harness.program import Program
from tools.harness.waiting import eventually

pytestmark = [pytest.mark.kamailio, pytest.mark.sipp]

SCENARIOS = Path(__file__).parent / "sipp"

CALLS = 4


@pytest.fixture
def kamailio(relay: NgRelay) -> Iterator[Kamailio]:
    with running_kamailio([(*relay.address, 1)]) as running:
        yield running


def sipp(scenario: Path, address: str, port: int, *arguments: str) -> list[str]:
    """The command line of one side; sipp ends by itself behind CALLS calls."""
    path = shutil.which("sipp")
    assert path is not None
    files = ["-sf", str(scenario), "-nostdin", "-m", str(CALLS)]
    return [path, *files, "-i", address, "-mi", address, "-p", str(port), *arguments]


def _with_voice(directory: Path) -> Path:
    """The caller's scenario with something to say: sipp takes the file's name from the scenario only."""
    voice = directory / "voice.ul"
    voice.write_bytes(bytes(range(256)) * 64)
    scenario = directory / "caller.xml"
    scenario.write_text((SCENARIOS / "caller.xml").read_text().replace("voice.ul", str(voice)))
    return scenario


def heard(relay: NgRelay) -> dict[str, list[int]]:
    """By call-id: the RTP packets that each end has sent so far."""
    with NgClient(relay.address) as client:
        calls = [(call_id, client.request("query", call_id=call_id)) for call_id in call_ids(relay)]
    return {
        call_id: [
            stream["stats"]["packets"]
            for tag in reply["tags"].values()
            for medium in tag["medias"]
            for stream in medium["streams"][:1]
        ]
        for call_id, reply in calls
        if reply["result"] == "ok"
    }


def test_voice_comes_back(relay: NgRelay, kamailio: Kamailio, tmp_path: Path) -> None:
    before = set(call_ids(relay))
    caller_scenario = _with_voice(tmp_path)
    most: dict[str, list[int]] = {}
    with claim_ports(20) as ports:
        echo = ["-mp", str(ports[2]), "-rtp_echo"]
        called = sipp(SCENARIOS / "callee.xml", FAR, ports[0], *echo)
        calling = sipp(caller_scenario, NEAR, ports[1], "-r", "20", "-timeout", "60s")
        calling += ["-mp", str(ports[4])]
        calling += ["-key", "callee", f"{FAR}:{ports[0]}"]
        calling.append(f"{kamailio.near[0]}:{kamailio.near[1]}")
        with Program(called) as callee, Program(calling) as caller:

            def all_hear_themselves() -> bool:
                # the first call may have ended when the last one has said enough
                most.update(
                    {call_id: sent for call_id, sent in heard(relay).items() if call_id not in before}
                )
                return len(most) == CALLS and all(
                    len(sent) == 2 and min(sent) >= 10 for sent in most.values()
                )

            eventually(all_hear_themselves, "every call has 10 packets each way")
            assert caller.wait(60) == 0, caller.output
            assert callee.wait(60) == 0, callee.output
    assert set(call_ids(relay)) <= before
