"""The start: how the table and the layers are set before the layers are trained.

alignment and dictionary bring the words of all languages together, channels lays out the table, layers sets the weights
that read it.
"""
