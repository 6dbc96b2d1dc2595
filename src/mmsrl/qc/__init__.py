"""Quality control of spots and genes."""
