"""The measuring harness: scenarios after MLPerf Inference, run on an opened linker, and reports of what they show."""
