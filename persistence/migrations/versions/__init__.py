"""The versions, oldest first; each is applied whole or not at all."""
