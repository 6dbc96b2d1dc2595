"""Conversion of a section from the result of a reader to the internal form (``docs/architecture.md``)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from mmsrl import _keys, geometry
from mmsrl._errors import InputError
from mmsrl._genes import unique_names
from mmsrl.geometry import Geometry
from mmsrl.ingest import cleaning, images, lattice, positions, species
from mmsrl.ingest import platform as platforms
from mmsrl.ingest.content import Content, info, warning
from mmsrl.ingest.genes import form_of
from mmsrl.ingest.matrix import Counts
from mmsrl.ingest.platform import Scale, Stated

_ARRAY = (_keys.ARRAY_ROW, _keys.ARRAY_COL)


def internal_form(content: Content, sample: str, stated: Stated) -> tuple[AnnData, Any | None, list[dict[str, str]]]:
    """Build the internal form of a section.

    Parameters
    ----------
    content
        Section as read from its files.
    sample
        Name of the section.
    stated
        Platform and scale from the samplesheet, which override those of the files.

    Returns
    -------
    adata
        Section in the internal form, (n_spots, n_genes).
    outlines
        GeoDataFrame of cell polygons indexed by barcode, or ``None``.
    messages
        Choices made and data left out.

    Raises
    ------
    InputError
        Coordinates, array positions or genes cannot belong to one section, or the stated values contradict each other.
    """
    messages = list(content.notes)
    content = _off_array(_without_doubled(content, messages), stated, messages)
    obs, spatial, barcodes = content.obs, content.spatial, [str(barcode) for barcode in content.counts.barcodes]
    stacked = positions.check_coordinates(spatial, content.counts.barcodes, content.source, content.max_stacked)
    if stacked:
        messages.append(warning(stacked))
    row, col = obs.get(_keys.ARRAY_ROW), obs.get(_keys.ARRAY_COL)
    if row is not None and col is not None:
        positions.check_array(
            row.to_numpy(), col.to_numpy(), content.counts.barcodes, content.source, content.max_stacked
        )
    counts, totals, notes, doubts = cleaning.gene_expression(content.counts)
    messages += [*map(info, notes), *map(warning, doubts)]
    obs = obs.assign(**{f"{kind}{_keys.KIND_COUNTS}": total for kind, total in totals.items()})
    features = counts.features
    genome = features["symbol"].map(species.genome_of)
    features = features.assign(genome=features["genome"].where(features["genome"] != "", genome))
    messages += _about_names(features)

    measured = geometry.measure(spatial, row, col)
    if not np.isfinite(measured.pitch):
        raise InputError(f"{content.source}: only one spot; a section needs several")
    scale = _scale(content, measured, stated, messages)
    um_per_px = scale.pitch_um / measured.pitch
    if content.area is not None and np.isfinite(um_per_px):
        obs = obs.assign(**{_keys.AREA_UM2: content.area * um_per_px**2})
    # Standardised values sum to 0.
    weights = np.asarray(abs(counts.matrix).sum(axis=0)).ravel()
    species_name = species.species_of(
        features["symbol"].tolist(), features["gene_ids"].tolist(), features["genome"].tolist(), weights
    )
    shown = _placed(content, messages)
    adata = AnnData(
        X=counts.matrix,
        obs=obs.set_axis(pd.Index(barcodes), axis=0),
        var=features.drop(columns="symbol")
        .astype({"feature_types": "category", "genome": "category"})
        .set_axis(_unique_symbols(features, messages), axis=0),
        obsm={_keys.SPATIAL: spatial},
        uns={
            _keys.UNS_SPATIAL: {sample: {"images": shown, "scalefactors": content.scalefactors}},
            _keys.UNS: {
                _keys.SAMPLE: sample,
                _keys.PLATFORM: scale.platform,
                _keys.LATTICE: measured.lattice,
                _keys.PITCH_PX: measured.pitch,
                _keys.PITCH_UM: scale.pitch_um,
                _keys.UM_PER_PX: um_per_px,
                _keys.SPOT_DIAMETER_PX: scale.spot_diameter_px,
                _keys.SPECIES: species_name,
                _keys.EXPRESSION: content.expression,
            },
        },
    )
    return adata, _outlines_table(content.outlines, barcodes), messages


def _scale(content: Content, measured: Geometry, stated: Stated, messages: list[dict[str, str]]) -> Scale:
    """Return platform and scale; add warnings on implausible coordinates to ``messages``."""
    evidence = platforms.Evidence.of(content, measured)
    scale = platforms.scale_of(evidence, stated)
    messages += [*map(info, scale.notes), *map(warning, scale.warnings)]
    cells = evidence.are_cells or content.outlines is not None
    if measured.lattice == "none" and scale.platform in platforms.LATTICES and not cells:
        messages.append(warning("spots lie on no known lattice; neighbours are found by distance"))
    if scale.platform in ("visium", "other") and platforms.is_visium(evidence.barcodes):
        row, col = (None if key not in content.obs else content.obs[key].to_numpy() for key in _ARRAY)
        text = lattice.problem_of(row, col, measured, content.spatial)
        messages += [warning(text)] if text else []
    lost = cleaning.lost_places(content.spatial, measured.pitch)
    if lost.any():
        text = f"{content.source}: {lost.sum()} spots have a coordinate of 0 and lie far from all others"
        example = evidence.barcodes[int(lost.argmax())]
        messages.append(warning(f"{text}, e.g. {example!r}; remove them if their coordinates are missing"))
    return scale


def _without_doubled(content: Content, messages: list[dict[str, str]]) -> Content:
    """Drop duplicate cells (same coordinates and counts), if ``content`` allows stacked cells."""
    keep = cleaning.first_of_doubled(content.counts.matrix, content.spatial) if content.max_stacked else None
    if keep is None or keep.all():
        return content
    counts = content.counts
    text = f"{(~keep).sum()} of {len(keep)} cells duplicate the coordinates and counts of another and are left out"
    messages.append(warning(f"{text}, e.g. {counts.barcodes[~keep][0]!r}; the first of each is kept"))
    return content._replace(
        counts=Counts(counts.matrix[keep], counts.barcodes[keep], counts.features),
        obs=content.obs[keep],
        spatial=content.spatial[keep],
        area=None if content.area is None else content.area[keep],
        outlines=None if content.outlines is None else content.outlines[keep],
    )


def _off_array(content: Content, stated: Stated, messages: list[dict[str, str]]) -> Content:
    """Convert coordinates of Visium spots from array rows and columns to positions on the slide in µm."""
    names = [str(barcode) for barcode in content.counts.barcodes]
    visium = platforms.is_visium(names) or stated.platform == "visium"
    if not visium or not np.isfinite(content.spatial).all():
        return content
    row, col = (None if key not in content.obs else content.obs[key].to_numpy() for key in _ARRAY)
    places = lattice.of_indices(content.spatial, row, col)
    if places is None:
        return content
    unused = f"; {' and '.join(content.pictures)} cannot be placed by them and are not used" if content.pictures else ""
    text = (
        f"{content.source}: the coordinates are rows and columns of the Visium array, not pixels; they were converted "
        f"to positions on the slide in µm{unused}. Give pxl_col_in_fullres and pxl_row_in_fullres as coordinates to "
        "place spots on the image"
    )
    messages.append(warning(text))
    of_pixels = ("spot_diameter_fullres", "microns_per_pixel")
    return content._replace(
        spatial=places,
        pictures={},
        scalefactors={key: value for key, value in content.scalefactors.items() if key not in of_pixels},
        um_per_px=1.0,
        um_per_px_from="as its slides are made",
    )


def _outlines_table(outlines: NDArray[Any] | None, barcodes: list[str]) -> Any | None:
    """Return polygons as a GeoDataFrame indexed by barcode."""
    if outlines is None:
        return None
    import geopandas

    return geopandas.GeoDataFrame({_keys.BARCODE: barcodes}, geometry=outlines).set_index(_keys.BARCODE)


def _about_names(features: pd.DataFrame) -> list[dict[str, str]]:
    """Return messages on gene names: several genomes, or identifiers without symbols."""
    messages = []
    genomes = [genome for genome in features["genome"].unique() if genome]
    if len(genomes) > 1:
        messages.append(info(f"several genomes ({', '.join(genomes)}): all genes are kept, see var['genome']"))
    form = form_of(features["symbol"].astype(str).reset_index(drop=True))
    if form != "symbols":
        text = f"genes have {form} but no symbols, e.g. {features['symbol'].iloc[0]}: mitochondrial genes and gene sets"
        messages.append(
            warning(f"{text} cannot be recognised; add symbols to var['gene_symbols'] or to the features file")
        )
    return messages


def _unique_symbols(features: pd.DataFrame, messages: list[dict[str, str]]) -> pd.Index[str]:
    symbols = features["symbol"].where(features["symbol"] != "", features["gene_ids"]).astype(str)
    unique = unique_names(symbols.tolist(), features["gene_ids"].astype(str).tolist())
    renamed = np.flatnonzero(unique.to_numpy() != symbols.to_numpy())
    if len(renamed):
        first = renamed[0]
        messages.append(
            info(
                f"{symbols.duplicated().sum()} genes share the symbol of another; {len(renamed)} got their id or a "
                f"number as suffix, e.g. {symbols.iloc[first]} is now {unique[first]}"
            )
        )
    return unique


def _placed(content: Content, messages: list[dict[str, str]]) -> dict[str, NDArray[np.uint8]]:
    """Return the images that have a scale factor and cover the spots; add notes on the others to ``messages``."""
    placed, astray = {}, {}
    for size, picture in content.pictures.items():
        factor = content.scalefactors.get(f"tissue_{size}_scalef")
        if factor is None:
            messages.append(warning(f"no tissue_{size}_scalef: the {size} image cannot be placed and is not used"))
            continue
        placed[size] = picture
        share, text = images.beside(content.spatial, factor, picture, size)
        if text:
            asked = "are coordinates, image and scale factor of the same section, and the factor of this image?"
            messages.append(warning(f"{text}; {asked}"))
        astray[size] = share > images.MAX_OUTSIDE
    if len(set(astray.values())) == 2:
        wrong = next(size for size in placed if astray[size])
        placed.pop(wrong)
        messages.append(warning(f"the {wrong} image is not used, as the spots lie on the other one"))
    missing = [size for size in images.SIZES if size not in content.pictures]
    if len(missing) == 2:
        named = [key for size in missing if (key := f"tissue_{size}_scalef") in content.scalefactors]
        if named:
            text = f"no tissue image (hires or lowres), though the scale factors have {' and '.join(named)}"
            messages.append(warning(f"{text}; copy it too, or give the full-resolution image"))
        else:
            messages.append(info("no tissue image (hires or lowres)"))
    elif missing and placed:
        messages.append(info(f"no {missing[0]} image; {next(iter(placed))} is used"))
    return placed
