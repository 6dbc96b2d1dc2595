"""Section pages: an HTML page with all results of a section, and its summary card for the report."""
