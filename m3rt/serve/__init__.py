"""HTTP over one encoder: a Service that answers, a module for each family of clients, and an app that holds them.

app.py joins routes and checks; run.py listens. Everything here needs the extra `server`.
"""
