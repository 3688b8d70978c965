"""The training: the bag, batches, losses, and one resumable loop for all stages."""
