"""RTP streams as sent and received: numbering, records, histograms."""
