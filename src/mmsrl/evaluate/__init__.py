"""Evaluation: domains against labels, and by their shape on the tissue."""
