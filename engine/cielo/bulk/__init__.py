"""Bulk: tables and folders of mentions linked fragment by fragment, by any number of processes; extra `bulk`."""
