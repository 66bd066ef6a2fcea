"""Home feeds for Django by chained fan-out. Start reading at `uploads.py` (write) or `homefeed/` (Redis)."""

__version__ = "0.2.0"
