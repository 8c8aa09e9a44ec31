"""Checks for the exercises of the notebooks. Each says right, or hints at a likely cause; none gives an answer away."""
