"""One photo's delivery to its author's followers, told from the top down in `chain.py`."""
