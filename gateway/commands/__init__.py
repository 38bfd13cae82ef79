"""Commands of `prop`, one module each. Nothing heavy is imported at the top of any of them."""
