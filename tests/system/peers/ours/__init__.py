"""A small Django app with the harness's job type, as any app of ours would bring its own."""
