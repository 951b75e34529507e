"""The HTTP process: metrics, health, the JSON API, the page, and ng over HTTP and WebSocket.

It is a client of nh like others: it reads the statistics in shared memory and asks over RPC. The supervisor
starts it (nh.supervisor.http) and knows no more of it. So asyncio and its libraries are in no process that
moves packets or executes commands.
"""
