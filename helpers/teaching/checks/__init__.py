"""Checks for the exercises: right, or a hint at a likely cause, never the answer."""
