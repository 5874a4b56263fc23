"""The API under /api/v1/. No rule lives here: services change things, selectors read them."""
