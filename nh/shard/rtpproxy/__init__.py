"""The shard's side of rtpproxy's protocol: its commands carried out on the calls."""
