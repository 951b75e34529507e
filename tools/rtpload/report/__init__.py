"""What a run measured: the values, their summary, tables and plots."""
