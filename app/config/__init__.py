"""What an experiment may say, and how its YAML is read."""
