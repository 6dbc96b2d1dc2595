"""Validation of parameters, samplesheet and input files before any task starts."""
