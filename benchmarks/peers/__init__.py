"""The programs of the other queues, run in environments of their own (benchmarks/install.py)."""
