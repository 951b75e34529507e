"""A shard behind the internal link: commands in, results out with what they changed, drain and end."""
