"""Servers and a demo for development, tests and benchmarks; the production image carries none of it."""
