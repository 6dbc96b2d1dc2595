"""Everything that can be known to be wrong before a task is started."""
