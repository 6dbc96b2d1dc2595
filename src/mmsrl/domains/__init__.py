"""Spatial domains: spots grouped by their embedding."""
