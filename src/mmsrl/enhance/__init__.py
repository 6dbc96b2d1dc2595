"""Enhancement: de-noised expression, judged on held-out counts."""
