"""The simulations beside other people's engines, on the same prices and orders."""
