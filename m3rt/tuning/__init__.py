"""Measures the speed of a bundle here (speed.py) and chooses settings (tuner.py); it prints nothing, saves nothing.

engines/profile.py keeps the settings, so that an encoder finds them without this room.
"""
