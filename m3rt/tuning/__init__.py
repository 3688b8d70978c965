"""How fast a bundle runs here, and which settings run fastest; engines/profile.py keeps what was measured."""
