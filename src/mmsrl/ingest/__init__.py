"""Ingest: one internal form of a section, whatever platform and layout it comes in."""
