"""Which runs an experiment needs, and how they are carried out."""
