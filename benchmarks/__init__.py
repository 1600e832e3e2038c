"""What the project costs, as ratios within one run; `python -m benchmarks` writes docs/performance.md."""
