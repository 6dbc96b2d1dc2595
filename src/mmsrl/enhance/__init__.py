"""Enhancement: de-noised expression, and the evidence that it predicts counts it has not seen."""
