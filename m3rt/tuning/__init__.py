"""Measures how fast a bundle runs here (speed.py) and chooses settings (tuner.py), which engines/profile.py keeps."""
