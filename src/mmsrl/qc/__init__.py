"""Quality control: which spots and genes are good enough to learn from."""
