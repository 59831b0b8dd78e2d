"""Image sets and their preprocessing."""
