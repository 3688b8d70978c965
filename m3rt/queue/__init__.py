"""One engine for many callers: their texts wait together, share forward passes and take turns.

waiting.py says which texts run next and knows neither threads nor clocks; requests.py is what a caller waits for;
queue.py runs the passes.
"""

from .queue import CAPACITY, Pass, Queue

__all__ = ["CAPACITY", "Pass", "Queue"]
