"""One file a worker."""
