"""Wiring by area: which component gets what from which. It declares providers, but no resource classes of its own."""
