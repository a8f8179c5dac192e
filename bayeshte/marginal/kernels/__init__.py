"""Compiled log densities: each function is compiled once on a machine and takes all data and structure as tables."""
