"""A community whose people have UUIDs, log in by e-mail, and have followers and photos of their own."""
