"""What the HTML reports have in common: the frame of a page, its style, its tables, and plots as inline SVG."""
