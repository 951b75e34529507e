"""Valid frames and mutations of them, sent to a running relay: nothing leaks, other clients are served."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.isolation.rpc_stream import (
    RpcStream,
    activate,
    allocate,
    assert_calls_are_served,
    bye,
    json_request,
    medium,
)
from tests.profiles import examples
from tools.harness.relay import Relay

VECTORS = Path(__file__).parents[1] / "wire" / "vectors" / "storable-nfreeze.jsonl"

KEY = {"call_id": "mix", "cseq": 1, "id_from": "a", "id_to": "b"}
VALID = [
    *(
        bytes.fromhex(vector["frame_hex"])
        for vector in map(json.loads, VECTORS.read_text().splitlines())
        if vector["kind"] == "request"
    ),
    allocate(b"mix", 0),
    allocate(b"mix", 1),
    allocate(b"mix", 1, medium(), medium(addr=b"0.0.0.0")),
    activate(b"mix"),
    bye(b"mix"),
    json_request(id=1, command="ping"),
    json_request(id=2, command="list", contains="m", limit=3),
    json_request(id=3, command="show", call_id="mix"),
    json_request(id=4, command="activate", param={"k": "v"}, **KEY),
    json_request(id=5, command="close", **KEY),
    json_request(
        id=6,
        command="allocate",
        side="from",
        address="127.0.0.1",
        media=[{"address": "127.0.0.1", "port": 30_000}],
        **KEY,
    ),
]

# what to do, how far into the frame (0 to 1), and with which byte
edits = st.tuples(
    st.sampled_from(["replace", "flip", "insert", "delete", "cut", "double"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 255),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid frame after a few edits; half of them with their length put right again."""
    data = bytearray(draw(st.sampled_from(VALID)))
    for kind, place, byte in draw(st.lists(edits, max_size=4)):
        _edit(data, kind, int(place * len(data)), byte)
    if draw(st.booleans()) and len(data) > 4:
        data[:4] = (len(data) - 4).to_bytes(4, "big")
    return bytes(data)


def _edit(data: bytearray, kind: str, index: int, byte: int) -> None:
    if kind == "insert":
        data.insert(index, byte)
    elif kind == "cut":
        del data[index:]
    elif kind == "double":
        data[index:index] = data[index : index + byte]
    elif index < len(data):
        if kind == "replace":
            data[index] = byte
        elif kind == "flip":
            data[index] ^= 1 << byte % 8
        else:
            del data[index]


@pytest.mark.timeout(300)
def test_a_mix_of_valid_and_mutated_frames_leaks_nothing(relay: Relay) -> None:
    assert_calls_are_served(relay.unix_address)
    relay.wait_until_idle(relay.descriptors())
    descriptors = relay.descriptors()
    processes = [process.pid for process in relay.shard_processes()]

    @settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.one_of(mutated(), st.sampled_from(VALID)), min_size=1, max_size=6))
    def throw(frames: list[bytes]) -> None:
        with RpcStream(relay.unix_address) as stream:
            # the server may end the connection while we still speak, but not leave us without an end
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                stream.send(b"".join(frames))
            stream.receive_all()

    throw()
    assert_calls_are_served(relay.unix_address)
    relay.wait_until_idle(descriptors)
    assert [process.pid for process in relay.shard_processes()] == processes
    assert relay.stats().totals.restarts == 0
