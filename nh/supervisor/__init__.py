"""The supervisor: owns the RPC sockets, routes commands by call-id, and keeps the shards alive."""
