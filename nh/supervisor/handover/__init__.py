"""From one supervisor to the next: upgrade and takeover."""
