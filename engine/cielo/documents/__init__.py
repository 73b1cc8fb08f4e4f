"""Documents with marked spans: read from JSON, BRAT, CodiEsp or BigBio, and linked together."""
