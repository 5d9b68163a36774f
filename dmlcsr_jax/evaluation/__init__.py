"""Scores: confusion matrices and what is read from them."""
