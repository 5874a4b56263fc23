"""The same faults on other job queues and on ours: `make peers`. Nothing here is a pytest test."""
