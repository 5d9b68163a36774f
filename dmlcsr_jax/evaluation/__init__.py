"""Scores of a network on a split: confusion matrices, protocols, curves, and a page of examples."""
