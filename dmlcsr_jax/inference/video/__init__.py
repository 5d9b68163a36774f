"""Videos in and out by PyAV, with their times and their sound; labels smoothed over time."""
