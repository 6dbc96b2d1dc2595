"""Report: overview of all sections, study, methods, and the manifest of the run."""
