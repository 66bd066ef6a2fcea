"""A site that is not `proj`: other users, other defaults of Django and REST framework, other URLs."""
