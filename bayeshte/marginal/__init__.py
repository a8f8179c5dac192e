"""Exact marginal likelihoods, their compiled kernels, and the draws of what they integrate out."""
