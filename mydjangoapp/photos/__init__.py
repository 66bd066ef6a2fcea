"""What a reader sees of a photo: its row, who may see it, its image."""
