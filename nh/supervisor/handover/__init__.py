"""From one supervisor to the next: upgrade, takeover, and the shards that a dead supervisor left."""
