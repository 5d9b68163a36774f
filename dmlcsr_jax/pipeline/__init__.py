"""Host-side input: images and label maps on disk to batches, and predictions back to the size of their image."""
