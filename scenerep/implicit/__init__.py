"""Coordinate networks: pictures and surfaces as the weights of a small network."""
