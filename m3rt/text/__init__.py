"""Turns text into token ids and long texts into chunks; it knows a bundle's tokenizer files, no graph and no engine.

A bundle is tokenized by tokenizer.json (tokenizer.py) or faster by its unigram folder (unigram.py, tries.py).
"""
