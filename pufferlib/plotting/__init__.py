"""Curves and tables of runs: finding the runs, grouping their seeds, bands, figures."""
