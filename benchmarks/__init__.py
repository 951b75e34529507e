"""Side-by-side measurements. Nothing here is a test: figures are ratios of one run on one machine."""
