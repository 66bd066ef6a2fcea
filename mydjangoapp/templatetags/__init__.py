"""For templates of the site's own."""
