"""The examples of docs/reference/protocol.md are what the codecs read and write."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from nh.calls.drop import Drop
from nh.command_table import INFO
from nh.errors import ERRORS_BY_CODE
from nh.results import Failure
from nh.wire import native, netsip

DOCUMENT = (Path(__file__).parents[2] / "docs" / "reference" / "protocol.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def exchanges() -> list[Any]:
    """(request, reply or None) for each arrow that goes in."""
    found = []
    for block in BLOCKS:
        texts = re.split(r"^(?=[→←])", block, flags=re.MULTILINE)[1:]
        requests = [text[2:] for text in texts if text[0] == "→"]
        replies = {json.loads(text[2:])["id"]: text[2:] for text in texts if text[0] == "←"}
        for request in requests:
            command = json.loads(request)
            found.append(pytest.param(request, replies.get(command["id"]), id=str(command["id"])))
    return found


@pytest.mark.parametrize(("request_text", "reply_text"), exchanges())
def test_examples_of_the_native_protocol(request_text: str, reply_text: str | None) -> None:
    request_id, command = native.decode_request(request_text.encode())
    assert not isinstance(command, Failure)
    if reply_text is not None:
        result_type = INFO[type(command)].result
        reply_id, result = native.decode_reply(reply_text.encode(), result_type)
        assert reply_id == request_id
        assert json.loads(native.encode_result(reply_id, result)) == json.loads(reply_text)


def test_the_example_of_net_sips_protocol() -> None:
    shown = DOCUMENT[DOCUMENT.index("    00000026") :].split("\n\n")[:2]
    request, reply = (
        b"".join(
            token[1:-1].encode() if token.startswith('"') else bytes.fromhex(token)
            for line in block.splitlines()
            for token in line.partition("#")[0].split()
        )
        for block in shown
    )
    assert int.from_bytes(request[:4], "big") == len(request) - 4
    netsip.decode_request(request[4:])
    assert netsip.read_count(netsip.decode_reply(reply[4:])) == 1


def test_every_error_code_is_documented() -> None:
    errors = DOCUMENT[DOCUMENT.index("### Errors") :]
    assert set(re.findall(r"^\| (\w+) \|", errors, re.MULTILINE)) - {"code"} == set(ERRORS_BY_CODE)


def test_every_reason_for_a_drop_is_documented() -> None:
    table = DOCUMENT[DOCUMENT.index("| reason | the packet |") :].partition("\n\n")[0]
    assert re.findall(r"^\| (\w+) \|", table, re.MULTILINE)[1:] == [reason.name.lower() for reason in Drop]
