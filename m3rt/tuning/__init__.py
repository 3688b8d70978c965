"""How fast a bundle runs here, which settings run fastest, and the profile that keeps them."""
