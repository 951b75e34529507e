"""What nh logs: levels and areas, the form of a line, and limits on lines that peers cause."""
