"""A magazine that had its articles long before it had feeds."""
