"""Images for people: overlays, legends, contact sheets, and their encoding."""
