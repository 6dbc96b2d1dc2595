"""Names under which mmsrl reads and writes AnnData; every key lives here and nowhere else."""

from __future__ import annotations

# obs
IN_TISSUE = "in_tissue"
IN_IMAGE = "in_image"
IMAGE_TISSUE = "image_tissue"
IMAGE_FOCUS = "image_focus"
IMAGE_HAEMATOXYLIN = "image_haematoxylin"
IMAGE_EOSIN = "image_eosin"
IMAGE_QUALITY = (IMAGE_TISSUE, IMAGE_FOCUS, IMAGE_HAEMATOXYLIN, IMAGE_EOSIN)
ARRAY_ROW = "array_row"
ARRAY_COL = "array_col"
KIND_COUNTS = "_counts"
"""Behind a kind of features that are no genes, such as `control` and `protein`: what a spot has of them."""
AREA_UM2 = "area_um2"
SAMPLE = "sample"
TOTAL_COUNTS = "total_counts"
BARCODE = "barcode"
DOMAIN = "domain"
CONFIDENCE = "domain_confidence"
CONDITION = "condition"
DONOR = "donor"
COVARIATE = "covariate_"
"""With the name of the covariate: columns of the samplesheet and of `obs`."""
PSEUDOTIME = "pseudotime"
PSEUDOTIME_RANK = "pseudotime_rank"
REFERENCE_DOMAIN = "reference_domain"
REFERENCE_CONFIDENCE = "reference_confidence"
REFERENCE_LIKENESS = "reference_likeness"
UNLIKE = "unlike"
"""The reference domain of spots that are unlike anything in the reference."""

# obsm
SPATIAL = "spatial"
SPATIAL_UPRIGHT = "X_spatial"
"""The same with y pointing up, as viewers of embeddings draw it."""
IMAGE = "X_image"
IMAGE_DESCRIPTOR = "X_image_descriptor"
IMAGE_NODES = "image_nodes"
EMBEDDING = "X_mmsrl"
LATENT = "latent"
"""Latent representation of a published preset."""
UMAP = "X_umap"
MEMBER = "member_"
"""With the number of the member: its embedding."""
POSTERIOR = "posterior_"
"""With the number of the member."""

# var
GENE_IDS = "gene_ids"
GENOME = "genome"

# layers
COUNTS = "counts"
PUBLISHED_MEAN = "published_mean"
"""Enhanced expression of a published preset."""

# uns
UNS = "mmsrl"
UNS_SPATIAL = "spatial"
DOMAIN_COLORS = "domain_colors"
MEMBERS = "members"
PRESET = "preset"
STRUCTURE_P, STRUCTURE_P_WITH_DEPTH = "structure_p", "structure_p_with_depth"

# uns['mmsrl']
PLATFORM = "platform"
LATTICE = "lattice"
PITCH_PX = "pitch_px"
PITCH_UM = "pitch_um"
UM_PER_PX = "um_per_px"
SPOT_DIAMETER_PX = "spot_diameter_px"
SPECIES = "species"
EXPRESSION = "expression"
"""What ``X`` is: :data:`COUNTS`, which it is where this is missing, or :data:`NORMALISED`."""
NORMALISED = "normalised"
UNIT = "unit"
