"""Packs embedding tables, without loss, that m3rt_distill rounded for this purpose (its start/channels.py).

Only tables of m3rt_distill's students pack. Any other table, BGE-M3's among them, passes through: `packed` returns None
at the first column that is not on a grid.
"""
