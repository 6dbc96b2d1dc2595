"""Spatial domains: clustering of the embedding."""
