"""The result cache: links that were found before."""
