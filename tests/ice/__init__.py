"""nh.ice: STUN and the lite agent."""
