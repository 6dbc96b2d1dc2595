"""Trajectory: the order of spots from a root, how domains connect, and the genes that change along the way."""
