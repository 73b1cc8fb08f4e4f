"""The folder on the path, for `page_reading`."""
