"""Machine-readable index of the result files."""
