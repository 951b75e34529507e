"""`nh doctor`: looks at a host and says what keeps nh from working well, what it means and what to do."""
