"""Groups texts into forward passes (plan.py) and puts outputs back in input order (collect.py); it runs no engine."""
