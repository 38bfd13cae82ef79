"""Typed settings, read once at the edge and handed down; nothing but start-up code imports this package."""
