"""The linker, and what it puts together."""
