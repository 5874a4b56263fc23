"""A small Django app with the benchmark's job types, as any app of ours would bring its own."""
