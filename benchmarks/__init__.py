"""What a guard costs: Atrion beside circuit breakers and limiters, in one run.

`python -m benchmarks` prints a table, `python -m benchmarks --json` the same as rows for programs.
"""
