"""Throw-away stores on free ports of the loopback, for tests and benchmarks, and a proxy that troubles the way."""
