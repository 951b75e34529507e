"""Calls by sipp, with the commands of the page on Kamailio: the voice comes back by echo, RTP both ways."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ng.client import NgClient
from tests.ng.kamailio import DOCUMENT, Kamailio, replaced, running_kamailio
from tests.ng.relays import NgRelay, call_ids
from tests.sip.proxy import FAR, NEAR
from tools.harness.ports import claim_ports
from tools.harness.program import Program
from tools.harness.waiting import eventually

pytestmark = [pytest.mark.kamailio, pytest.mark.sipp]

SCENARIOS = Path(__file__).parent / "sipp"

CALLS = 4

TALK_MS = 6000
"""The caller speaks longer than on the page: on a busy host, looking at all calls takes seconds."""


@pytest.fixture
def kamailio(relay: NgRelay) -> Iterator[Kamailio]:
    with running_kamailio([(*relay.address, 1)]) as running:
        yield running


def documented(scenario: str, directory: Path, changes: dict[str, str]) -> list[str]:
    """What runs the block of the page that has one side of the calls; sipp ends by itself behind CALLS calls.

    The caller speaks for TALK_MS.

    Args:
        scenario: the file of that side.
        directory: where it runs.
        changes: what is other than on the page.
    """
    [block] = [
        each
        for each in re.findall(r"^```sh\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S)
        if scenario in each
    ]
    text = (SCENARIOS / scenario).read_text()
    (directory / scenario).write_text(
        re.sub(r'<pause milliseconds="\d+"', f'<pause milliseconds="{TALK_MS}"', text)
    )
    script = replaced(
        block,
        {
            "sipp -sf": "exec sipp -sf",  # so that it ends with the shell
            "tests/ng/sipp": str(directory),
            "-m 1": f"-m {CALLS} -nostdin",
            **changes,
        },
    )
    return ["sh", "-e", "-c", f"cd {directory}\n{script}"]


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


@pytest.mark.parametrize(
    "relay",
    [
        "nh",
        pytest.param("nh_in_the_kernel", marks=[pytest.mark.kernel, pytest.mark.full]),
        pytest.param("rtpengine", marks=[pytest.mark.rtpengine, pytest.mark.full]),
    ],
    indirect=True,
)
def test_voice_comes_back(relay: NgRelay, kamailio: Kamailio, tmp_path: Path) -> None:
    before = set(call_ids(relay))
    most: dict[str, list[int]] = {}
    with claim_ports(20) as ports:
        there = f"{FAR}:{ports[0]}"
        called = documented(
            "callee.xml",
            tmp_path,
            {"-i 192.0.2.10": f"-i {FAR} -mi {FAR}", "-p 5070": f"-p {ports[0]} -mp {ports[2]}"},
        )
        calling = documented(
            "caller.xml",
            tmp_path,
            {
                "callee 192.0.2.10:5070": f"callee {there}",
                "-i 192.0.2.10": f"-i {NEAR} -mi {NEAR}",
                "-p 5071": f"-p {ports[1]} -mp {ports[4]} -r 20 -timeout 60s",
                "192.0.2.10:5060": f"{kamailio.near[0]}:{kamailio.near[1]}",
            },
        )
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
