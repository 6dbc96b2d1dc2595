"""Image features: what the histology shows around each spot."""
