"""Archives of any size, linked: cut into parts, each linked, written and recorded by itself; extra `bulk`."""
