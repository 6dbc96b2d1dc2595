"""Ingest: readers of all platforms and layouts, and the internal form of a section."""
