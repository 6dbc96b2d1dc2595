"""Names, ids and types of features, as tables of many programs have them."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from mmsrl._errors import InputError
from mmsrl.ingest.api import read_h5ad
from mmsrl.ingest.cleaning import CONTROLS, gene_expression, kinds_of
from mmsrl.ingest.genes import features_of
from mmsrl.ingest.matrix import Counts
from mmsrl.ingest.species import is_mixture
from mmsrl.qc.api import quality_control

SYMBOLS = ["MT-CO1", "GAPDH", "ACTB", "RPS3"]
IDS = [f"ENSG0000000000{k}" for k in range(4)]


def features(names: list, **columns: object) -> pd.DataFrame:
    return features_of(pd.DataFrame(columns, index=pd.Index(names)))[0]


@pytest.mark.parametrize(
    "column",
    [
        *("gene_symbols", "gene_name", "feature_name", "SYMBOL", "Symbol", "gene_short_name", "external_gene_name"),
        *("hgnc_symbol", "mgi_symbol", "gene", "GeneName", "genename", "features", "name", "Gene.Symbol", "index"),
    ],
)
@pytest.mark.parametrize("names", [IDS, [f"{gene}.7" for gene in IDS], ["0", "1", "2", "3"]])
def test_symbols_in_a_column_of_any_name(column, names):
    found = features(names, **{column: pd.Categorical(SYMBOLS)})
    assert found["symbol"].tolist() == SYMBOLS


def test_numbers_as_names_give_way_to_symbols_and_ids():
    found = features(["0", "1", "2", "3"], gene_id=IDS, gene=SYMBOLS)
    assert found["symbol"].tolist() == SYMBOLS and found["gene_ids"].tolist() == IDS


def test_a_column_of_ids_is_no_column_of_symbols():
    found = features(IDS, gene=IDS, feature_name=SYMBOLS)
    assert found["symbol"].tolist() == SYMBOLS
    assert features(SYMBOLS, id=["a", "b", "c", "d"])["gene_ids"].tolist() == SYMBOLS
    assert features(SYMBOLS, ID=IDS)["gene_ids"].tolist() == IDS


@pytest.mark.parametrize("missing", [None, "", "NA", np.nan])
def test_a_gene_without_symbol_keeps_its_id(missing):
    assert features(IDS, symbol=[missing, *SYMBOLS[1:]])["symbol"].tolist() == [IDS[0], *SYMBOLS[1:]]


@pytest.mark.parametrize("join", ["{id}_{symbol}", "{id}|{symbol}", "{symbol}_{id}", "{id}.4_{symbol}"])
def test_names_of_id_and_symbol_are_taken_apart(join):
    index = [join.format(id=gene, symbol=symbol) for gene, symbol in zip(IDS, SYMBOLS, strict=True)]
    found = features(index)
    assert found["symbol"].tolist() == SYMBOLS
    assert [gene.partition(".")[0] for gene in found["gene_ids"]] == IDS


def test_blanks_around_names_are_cut():
    found = features(["Gapdh ", " Actb"], gene_ids=["ENSG1 ", "ENSG2"])
    assert found["symbol"].tolist() == ["Gapdh", "Actb"] and found["gene_ids"].tolist() == ["ENSG1", "ENSG2"]


def test_bytes_are_text():
    found = features([symbol.encode() for symbol in SYMBOLS], gene_ids=[gene.encode() for gene in IDS])
    assert found["symbol"].tolist() == SYMBOLS and found["gene_ids"].tolist() == IDS


def counts_of(types: list[str], symbols: list[str] | None = None, ids: list[str] | None = None) -> Counts:
    symbols = symbols or [f"GENE{k}" for k in range(len(types))]
    table = pd.DataFrame(
        {"symbol": symbols, "gene_ids": ids or symbols, "feature_types": types, "genome": ""}, dtype=object
    )
    matrix = sparse.csr_matrix(np.tile(2.0 ** np.arange(len(types)), (3, 1)))
    return Counts(matrix, np.array(["a", "b", "c"], dtype=object), table)


@pytest.mark.parametrize(
    ("kind", "types"),
    [
        ("gene", ["Gene Expression", "gene_expression", "GEX", "rna", "RNA", "gene", "protein_coding", "lncRNA"]),
        ("gene", ["Endogenous", "processed_pseudogene", "IG_V_gene", "miRNA", "Mt_tRNA"]),
        ("protein", ["Antibody Capture", "antibody_capture", "protein", "prot", "ADT", "Protein Expression"]),
        ("control", ["Negative Control Probe", "Unassigned Codeword", "Blank Codeword", "SystemControl", "spike-in"]),
        ("control", ["Genomic Control", "Deprecated Codeword", "Negative"]),
        ("hashtag", ["Multiplexing Capture", "HTO"]),
        ("", ["tissue", "1", "TRUE"]),
    ],
)
def test_types_of_features_in_their_variants(kind, types):
    assert set(kinds_of(pd.Series(types))) == {kind}


@pytest.mark.parametrize("column", ["Type", "feature_type", "modality", "feature_class", "Feature.Types", "CodeClass"])
def test_types_in_a_column_of_another_name(column):
    found = features(SYMBOLS, **{column: ["rna", "rna", "rna", "prot"]})
    assert found["feature_types"].tolist() == ["rna", "rna", "rna", "prot"]


def test_a_column_type_that_is_about_something_else_tells_nothing():
    assert set(features(SYMBOLS, type=["a", "b", "c", "d"])["feature_types"]) == {""}


def test_other_features_are_left_out_and_their_totals_kept():
    types = ["GEX", "", "ADT", "Antibody Capture", "Negative Control Probe", "Custom thing"]
    kept, totals, notes, _ = gene_expression(counts_of(types))
    assert kept.features["symbol"].tolist() == ["GENE0", "GENE1"]
    assert set(kept.features["feature_types"]) == {"Gene Expression"}
    assert {kind: values.tolist() for kind, values in totals.items()} == {
        "control": [16.0] * 3,
        "custom_thing": [32.0] * 3,
        "protein": [12.0] * 3,
    }
    assert "1 ADT" in notes[0] and "1 Custom thing" in notes[0]


@pytest.mark.parametrize(
    "name",
    [
        *("Blank-1", "blank_12", "Blank1", "Blank.3", "BLANK_0003", "NegControlProbe_00042", "NegControlCodeword_0500"),
        *("antisense_PROK2", "DeprecatedCodeword_0321", "UnassignedCodeword_0006", "Intergenic_Region_19"),
        *("Negative1", "Negative_01", "NegPrb03", "NegProbe-WTX", "SystemControl7", "FalseCode12", "ERCC-00002"),
        *("ERCC.00002", "NegControlProbe-00042", "DEPRECATED_ENSG00000003393"),
    ],
)
def test_controls_are_told_by_their_names(name):
    assert CONTROLS.match(name)


@pytest.mark.parametrize(
    "name",
    [
        *("ERCC1", "ERCC2", "ERCC6L2", "ERCC8", "Ercc6l", "BLNK", "BLANKET1", "NEGR1", "Negr1", "NELFA", "AS3MT"),
        *("NEG1", "SYS1", "CONTROL", "BDNF-AS", "FALEC", "Intergenic"),
    ],
)
def test_genes_of_like_names_are_no_controls(name):
    assert not CONTROLS.match(name)


def test_controls_alone_are_an_error():
    with pytest.raises(InputError, match="no genes, only control features such as Blank-1"):
        gene_expression(counts_of([""] * 2, ["Blank-1", "Blank-2"]))


def test_proteins_without_a_type_are_told():
    ids = [f"ENSG000000001{k:02}" for k in range(20)]
    symbols = [f"G{k}" for k in range(20)]
    *_, warnings = gene_expression(counts_of([""] * 22, [*symbols, "CD3E.1", "CD8A.1"], [*ids, "CD3E", "CD8A"]))
    assert len(warnings) == 1 and "2 features such as CD3E.1, CD8A.1 have no gene id, and 75% of" in warnings[0]
    stated = ["Gene Expression"] * 22
    assert gene_expression(counts_of(stated, [*symbols, "CD3E.1", "CD8A.1"], [*ids, "CD3E", "CD8A"]))[3] == []
    # Few counts, as a gene has that was added to a genome: nothing is said, unless its name is that of an antibody.
    assert gene_expression(counts_of([""] * 21, ["GFP", *symbols], ["GFP", *ids]))[3] == []
    assert gene_expression(counts_of([""] * 21, ["CD3E_TotalSeqB", *symbols], ["x", *ids]))[3] != []


def cells(var: pd.DataFrame) -> ad.AnnData:
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(3.0, (40, len(var))).astype(np.float32))
    return ad.AnnData(
        counts, pd.DataFrame(index=[f"c{k}" for k in range(40)]), var, obsm={"spatial": rng.random((40, 2))}
    )


def read(adata: ad.AnnData, folder):
    adata.write_h5ad(folder / "s.h5ad")
    return read_h5ad(folder / "s.h5ad", "s")


@pytest.mark.parametrize(("names", "form"), [(IDS, "ids"), (["0", "1", "2", "3"], "numbers")])
def test_names_that_are_no_symbols_are_a_warning(tmp_path, names, form):
    messages = read(cells(pd.DataFrame(index=names)), tmp_path).messages
    assert [m["level"] for m in messages if f"genes have {form} but no symbols" in m["text"]] == ["warning"]


def test_totals_of_proteins_and_controls_are_kept(tmp_path):
    types = ["Gene Expression"] * 4 + ["Antibody Capture", "Negative Control Probe"]
    adata = cells(pd.DataFrame({"feature_types": types}, index=[*SYMBOLS, "CD3E", "NegControlProbe_1"]))
    read_back = read(adata, tmp_path).adata
    np.testing.assert_array_equal(read_back.obs["protein_counts"], adata.X[:, [4]].toarray().ravel())
    np.testing.assert_array_equal(read_back.obs["control_counts"], adata.X[:, [5]].toarray().ravel())
    assert read_back.var_names.tolist() == SYMBOLS


@pytest.mark.parametrize(
    ("human", "mouse", "genomes"),
    [
        ("{}", "{}", ["GRCh38", "mm10"]),
        ("GRCh38_{}", "mm10___{}", None),
        ("hg19-{}", "mm10-{}", None),
        ("GRCh38.{}", "GRCm39.{}", None),
        ("{}", "{}", None),
    ],
)
def test_mitochondria_of_both_species_count(tmp_path, human, mouse, genomes):
    names = [human.format(s) for s in ("MT-CO1", "GAPDH", "ACTB")] + [mouse.format(s) for s in ("mt-Co1", "Gapdh")]
    var = pd.DataFrame(index=names)
    if genomes is not None:
        var["genome"] = [genomes[0]] * 3 + [genomes[1]] * 2
    quality = quality_control(read(cells(var), tmp_path).adata)
    assert quality.result["genes_in_sets"]["mt"] == 2


def test_one_species_is_no_mixture():
    assert not is_mixture(["GAPDH", "ACTB", "C1orf112"], IDS[:3], ["", "", ""])
    assert is_mixture(["GAPDH", "Gapdh"], ["ENSG01", "ENSMUSG01"], ["", ""])
    assert not is_mixture(["a", "b"], ["x", "y"], ["", ""])
