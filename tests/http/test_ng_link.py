"""nh.http.ng_link: requests of ng to nh, over one connection."""

import asyncio
from pathlib import Path

from nh.http.ng_link import NgLink
from nh.wire.framing import Framer, frame
from nh.wire.ng.stream import MAX_MESSAGE_BYTES


def test_two_requests_with_one_cookie_get_each_its_own_reply(tmp_path: Path) -> None:
    """Proxies in containers choose equal cookies."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        framer, messages = Framer(MAX_MESSAGE_BYTES), list[bytes]()
        while len(messages) < 2:
            framer.feed(await reader.read(4096))
            while (message := framer.next_frame()) is not None:
                messages.append(bytes(message))
        for message in reversed(messages):
            cookie, payload = message.split(b" ", 1)
            writer.write(frame(b"%b reply to %b" % (cookie, payload)))
        writer.close()

    async def ask_both() -> list[bytes]:
        path = str(tmp_path / "ng")
        async with await asyncio.start_unix_server(answer, path):
            link = NgLink(path, 5.0)
            return await asyncio.gather(*(link.ask(b"1", text, "client") for text in (b"one", b"other")))

    assert asyncio.run(ask_both()) == [b"reply to one", b"reply to other"]
