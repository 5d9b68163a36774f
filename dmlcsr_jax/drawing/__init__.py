"""Label maps as images for people: overlays, legends, contact sheets."""
