"""The Valkey engine: calls are stored on a server that serves the protocol of Valkey and Redis.

url reads the URL, connection makes a client of it and says what went wrong, scripts are what the server runs,
record is the bytes of a call there, and engine is the StoreEngine.
"""
