"""In a group one name is one gene, whatever the order and the symbols of the sections."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from mmsrl._genes import names_in_unit, plain_id, unique_names
from mmsrl._sections import common_genes, counts_of, gene_names

IDS = ["ENSG00000000001", "ENSG00000000002", "ENSG00000000003"]


def table(names: list[str], ids: list[str] | None = None) -> pd.DataFrame:
    var = pd.DataFrame(index=names)
    return var if ids is None else var.assign(gene_ids=ids)


def section(sample: str, names: list[str], ids: list[str] | None, counts: list[float]) -> ad.AnnData:
    adata = ad.AnnData(np.array([counts, counts], np.float32), var=table(names, ids))
    adata.uns["mmsrl"] = {"sample": sample}
    return adata


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("ENSG00000187730.7", "ENSG00000187730"),
        ("GRCh38_ENSG00000187730", "ENSG00000187730"),
        ("ENSG00000182378.10_PAR_Y", "ENSG00000182378_PAR_Y"),
        ("AC011043.1", "AC011043.1"),
        ("FBgn0000008", "FBgn0000008"),
    ],
)
def test_ids_are_compared_without_version_and_genome(name, plain):
    assert plain_id(name) == plain


def test_symbols_that_are_shared_get_the_id_whatever_the_order():
    names = unique_names(["MATR3", "GAPDH", "MATR3"], IDS)
    assert names.tolist() == ["MATR3-ENSG00000000001", "GAPDH", "MATR3-ENSG00000000003"]
    assert unique_names(["MATR3", "MATR3", "GAPDH"], [IDS[2], IDS[0], IDS[1]]).tolist() == [
        "MATR3-ENSG00000000003",
        "MATR3-ENSG00000000001",
        "GAPDH",
    ]


def test_without_ids_shared_symbols_are_numbered():
    assert unique_names(["A", "A", "B"], ["A", "A", "B"]).tolist() == ["A", "A-1", "B"]


def test_numbers_of_other_programs_are_no_identity():
    # Both sections numbered their two TBCE by the order they had.
    one, other = table(["TBCE", "TBCE-1"], IDS[:2]), table(["TBCE", "TBCE-1"], [IDS[1], IDS[0]])
    first, second = names_in_unit([one, other])
    assert first.tolist() == ["TBCE", "TBCE-1"] and second.tolist() == ["TBCE-1", "TBCE"]


def test_a_gene_that_was_renamed_is_one_gene_and_another_of_its_name_is_not():
    one, other = table(["SEPT7", "ACTB"], [f"{IDS[0]}.3", IDS[1]]), table(["SEPTIN7", "SEPT7"], [IDS[0], IDS[2]])
    assert [names.tolist() for names in names_in_unit([one, other])] == [
        ["SEPT7", "ACTB"],
        ["SEPT7", "SEPT7-ENSG00000000003"],
    ]


@pytest.mark.parametrize("ids", [None, ["a", "b", "c"]])
def test_by_name_where_a_section_has_no_ids(ids):
    names = names_in_unit([table(["A", "B", "C"], IDS), table(["C", "A", "X"], ids)])
    assert [own.tolist() for own in names] == [["A", "B", "C"], ["C", "A", "X"]]


def test_genes_without_an_id_among_those_with_one_are_told_by_name():
    one, other = table(["A", "B", "GFP"], [*IDS[:2], ""]), table(["GFP", "B", "C"], ["", *IDS[1:]])
    assert names_in_unit([one, other])[1].tolist() == ["GFP", "B", "C"]


def test_counts_of_a_group_are_those_of_the_same_gene():
    sections = [
        section("S1", ["TBCE", "TBCE-1", "GAPDH"], IDS, [1, 2, 3]),
        section("S2", ["GAPDH", "TBCE", "TBCE-1"], [IDS[2], IDS[1], IDS[0]], [30, 20, 10]),
    ]
    genes = common_genes(sections)
    counts, _ = counts_of(sections, genes)
    assert genes == ["TBCE", "TBCE-1", "GAPDH"]
    assert counts.toarray().tolist() == [[1, 2, 3], [1, 2, 3], [10, 20, 30], [10, 20, 30]]
    assert [names.tolist() for names in gene_names(sections)][1] == ["GAPDH", "TBCE-1", "TBCE"]
