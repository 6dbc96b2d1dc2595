"""Consensus: one labelling of the members of an ensemble, and how sure it is at each spot."""
