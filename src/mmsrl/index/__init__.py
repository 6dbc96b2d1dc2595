"""Index: what files a run left, for machines."""
