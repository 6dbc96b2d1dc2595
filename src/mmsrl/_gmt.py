"""Reader of gene sets in GMT format."""

from __future__ import annotations

from pathlib import Path

from mmsrl._errors import InputError


def read_gmt(path: Path) -> dict[str, list[str]]:
    """Read gene sets from a GMT file: one line a set, with tab-separated name, description and genes.

    Raises
    ------
    InputError
        A line is not a gene set, names are duplicated, or the file has no set.
    """
    sets: dict[str, list[str]] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: not text in UTF-8 ({error.reason}); give gene sets as a GMT file") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *rest = [field.strip() for field in line.split("\t")]
        genes = list(dict.fromkeys(gene for gene in rest[1:] if gene))
        if not name or not genes:
            raise InputError(
                f"{path.name}: line {number} is no gene set; a line is name, description and genes, with tabs between"
            )
        if name in sets:
            raise InputError(f"{path.name}: line {number}: a second set named {name}; give each its own name")
        sets[name] = genes
    if not sets:
        raise InputError(f"{path.name}: holds no gene set")
    return sets
