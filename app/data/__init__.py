"""Data sets, known without loading them, and their preprocessing; knows no config."""
