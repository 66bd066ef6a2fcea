"""A shop whose posts are the feed's photos: text, tags, several pictures, and likes of its own."""
