"""From pictures and label maps on disk to batches on the device, and back to the size they came in."""
