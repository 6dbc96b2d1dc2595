"""Assembly: what every stage added, in one file a sample and one a group."""
