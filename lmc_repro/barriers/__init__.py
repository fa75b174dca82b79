"""Barriers on the straight line between two networks: curve, Eq. 1 and 2 and their variants, status, verdict."""
