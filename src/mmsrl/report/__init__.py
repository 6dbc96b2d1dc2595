"""Report: all samples in one self-contained HTML page, and the manifest of the run."""
