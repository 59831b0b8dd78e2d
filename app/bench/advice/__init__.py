"""Advice on the learning rate against learning-rate finders and against the best of a full grid."""
