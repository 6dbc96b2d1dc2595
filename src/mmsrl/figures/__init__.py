"""Figures of each section as PNG and PDF for papers and slides."""
