"""What `cielo doctor` finds: what cielo runs on here, what is broken, what is slow, and the command that mends it."""
