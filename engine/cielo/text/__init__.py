"""Text to prompts, normal forms and tokens."""
