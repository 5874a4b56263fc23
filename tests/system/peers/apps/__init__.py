"""The jobs and producers of the peers: run in the peers' own environment, not in ours."""
