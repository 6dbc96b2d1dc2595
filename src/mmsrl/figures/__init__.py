"""Figures: each section as pictures for papers and slides."""
