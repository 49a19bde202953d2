"""What sharing costs and how fast it is: `python -m benchmarks.cluster`."""
