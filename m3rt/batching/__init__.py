"""Which texts run together in a forward pass, and where its outputs belong."""
