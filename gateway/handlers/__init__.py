"""Handlers: one short function an operation, between a validated call and the runtime."""
