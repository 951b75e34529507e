"""Tells others that the media of calls have timed out: by HTTP, XML-RPC and rtpproxy's notify sockets."""
