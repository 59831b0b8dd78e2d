"""Training steps that track the sharpness, and short training runs."""
