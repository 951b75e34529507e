"""nh.http.ending: what a request gets that is under way when the process ends."""

import asyncio

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nh.http.ending import EndingReply


def served(app: ASGIApp, path: str) -> list[Message]:
    """What is sent for a request that is cancelled, unless `app` answers it before."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    async def run() -> None:
        scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        task = asyncio.create_task(EndingReply(app)(scope, receive, send))
        await asyncio.sleep(0)
        task.cancel()
        await task

    asyncio.run(run())
    return sent


async def wait(_scope: Scope, _receive: Receive, _send: Send) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("path", "body"),
    [("/api/calls/x", b'"code":"unavailable"'), ("/ng", b"ask again"), ("/metrics", b"ends")],
)
def test_a_request_that_has_no_reply_is_to_be_asked_again(path: str, body: bytes) -> None:
    start, reply = served(wait, path)
    assert start["status"] == 503
    assert dict(start["headers"])[b"retry-after"] == b"1"
    assert body in reply["body"]


def test_a_reply_is_sent_as_it_is() -> None:
    start, reply = served(PlainTextResponse("ok"), "/ng")
    assert (start["status"], reply["body"]) == (200, b"ok")


def test_half_a_reply_is_not_followed_by_another() -> None:
    async def half(scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await wait(scope, _receive, send)

    with pytest.raises(asyncio.CancelledError):
        served(half, "/ng")
