"""Something runs out under a running relay: calls go on, new ones are told why not, and it recovers."""
