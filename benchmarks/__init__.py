"""Measurements, one module per section of docs/benchmarks.md; ``python -m benchmarks`` runs a short set."""
