"""nh.service under a real systemd: what docs/how-to/systemd.md promises, tried out.

`python -m tools.systemd.trial`, as root. A Debian is installed into a directory, and its systemd is started
in a container that can reach nothing of the host; in there calls with media play while the unit is started,
stopped, killed, hung, reloaded.

On the host:
    root          the root file system: Debian, with nh installed as the documentation says
    container     systemd in it, from the start to its end (container.sh is what does it)

In the container:
    inside        what its systemd runs (nh-trial.service): all scenarios, one after the other
    unit          nh.service, and what systemd and nh say of it
    actions       what is done to it while calls play
    checks        what is looked at without media: start, drain, wrong settings, who may look
    scenarios     all of them, with what was promised
    package       the life of the Debian package instead, from its installation to its purge
    console       the lines by which the container reports to the host
"""
