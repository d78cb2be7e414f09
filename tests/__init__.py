"""The tests; `python3 scripts/test.py` runs them."""
