"""A site's own app with workers, as the documentation shows them."""
