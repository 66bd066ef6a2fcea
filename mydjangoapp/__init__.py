"""Home feeds for Django by chained fan-out. Start reading at `uploads.py` (write) or `homefeed/` (Redis)."""
