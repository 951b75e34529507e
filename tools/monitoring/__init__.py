"""What monitoring needs beside nh's metrics: alert rules for Prometheus, and a dashboard for Grafana.

`python -m tools.monitoring` writes nh-dashboard.json anew from dashboard.py.
"""
