"""Load on `cielo serve`: see `__main__`."""
