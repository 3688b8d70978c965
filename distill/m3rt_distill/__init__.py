"""Trains a small M3-style encoder with dense, sparse and ColBERT heads: distillation from a teacher, then from itself.

Nothing is imported here, so that the modules which need no PyTorch stay usable without it.
"""
