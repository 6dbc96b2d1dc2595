"""Train: one embedding a spot from expression, histology and location."""
