"""Collectives: operations in which several simulated devices take part."""
