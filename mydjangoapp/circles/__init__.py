"""Circles: who is a member, which photos were posted there, and the ranking of the day."""
