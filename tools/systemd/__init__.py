"""nh as a service of systemd: the unit, its user, and a trial of both under a systemd of one's own."""
