"""Made by makemigrations, but for the one that adopts the table."""
