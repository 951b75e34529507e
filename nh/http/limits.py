"""What the clients of the HTTP process may use: sizes, times, numbers. All limits are here."""

from typing import Final

MAX_CONNECTIONS: Final = 256
"""Most connections; beyond, one of the client with most is closed, or its requests get 503."""

MAX_WEBSOCKETS: Final = 128
"""Most of them that are WebSockets; beyond, one of the client with most is closed, or its next refused."""

REQUEST_S: Final = 10.0
"""A request may take so long, from its first byte until its client has read the reply."""

KEEP_ALIVE_S: Final = 30.0
"""Life of a connection on which nothing happens."""

READ_BYTES: Final = 16 * 1024
"""Most bytes read of one connection before others get their turn."""

MAX_HEAD_BYTES: Final = 64 * 1024
"""Longest request line with its headers; a call-id of 16 KiB has up to 48 KiB in a URL."""

MAX_RPC: Final = 2
"""Most requests to nh at once for the API."""

MAX_RPC_WAITING: Final = 32
"""Most further ones that wait; beyond, the latest one of the client with most gets 503."""

RPC_RATE: Final = 20
"""Most requests to nh a second for the API, so that no client of the API keeps a shard busy."""

LIST_COST: Final = 5
"""A list by call-id counts as so many requests: with 10,000 calls in two shards, each works 20 ms for it."""

JUDGED_LIST_COST: Final = 20
"""A list for which each call is looked at, for its media or its order: then each works 0.2 s for it."""

RPC_WAIT_S: Final = 3.0
"""A request may wait so long for its turn; then it gets 503."""

MAX_NG: Final = 128
"""Most requests of ng to nh at once: as many as nh has under way of one connection."""

MAX_NG_WAITING: Final = 1024
"""Most further ones that wait; beyond, the latest one of the client with most gets 503."""

MAX_NG_OF_WEBSOCKETS: Final = 64
"""What WebSockets share that have requests under way, each one at least; further ones are left unread. All of
them may have a step to do before another client has its next one."""

WEBSOCKET_READ_BYTES: Final = 4096
"""Most bytes read of one WebSocket before others get their turn."""

WEBSOCKET_SEND_S: Final = 10.0
"""A client of a WebSocket may take so long to read a reply."""

MAX_FRAGMENTS: Final = 1024
"""Most fragments of one message of a WebSocket."""

PING_S: Final = 20.0
"""Seconds between pings to a WebSocket's client, and how long it may take to answer."""

MAX_WRONG_TOKENS: Final = 10
WRONG_TOKENS_S: Final = 60.0
"""A client may send so many wrong tokens in so many seconds; beyond, what needs the token gets 429."""

MAX_WRONG_CLIENTS: Final = 1024
"""Most clients whose wrong tokens are remembered; the one with the oldest is forgotten for another."""

MAX_BODY_BYTES: Final = 4096
"""Longest body of a request to the API."""

FIRST_REQUEST_S: Final = 1.0
"""When the process ends, a client that has connected before may take so long to send its first request."""

SHUTDOWN_S: Final = 2
"""At the end, requests under way may take so many seconds."""
