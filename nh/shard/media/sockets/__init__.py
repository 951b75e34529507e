"""Media sockets: how they are opened, their room, their hop limits, and what the system says of them."""
