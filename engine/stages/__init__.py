"""The stages of the linker, each usable alone: a batch in, a batch out."""
