"""For the people who run the site: health, metrics, pruning."""
