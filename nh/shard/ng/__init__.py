"""The shard's side of ng: offer, answer, delete and query carried out on its calls."""
