"""The bundle: its manifest, its files, opening it, and what a machine found out about it."""
