"""Simulations from the command line: where prices, actions, policies and strategies come from, and where results go."""
