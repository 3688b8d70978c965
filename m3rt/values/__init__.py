"""Checks the values that callers and files give, and shows a wrong one in one line; it knows no model, no file."""
