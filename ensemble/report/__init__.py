"""What an evaluation found: its files, its tables, and the report that ``python -m ensemble.report`` makes of them."""
