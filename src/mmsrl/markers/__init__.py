"""Markers: the genes of each domain, genes that follow the tissue, gene sets, and which domains adjoin."""
