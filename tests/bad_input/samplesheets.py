"""Samplesheets with invalid content, independent of the named files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bad_input.case import Case, check

GOOD = "sample,spaceranger_dir\na,/x\n"


def _sheet(content: str | bytes, name: str = "sheet.csv", **parameters: object) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return check(path, "--no-check-files", **parameters)

    return make


def _study(columns: str, *rows: str, **parameters: object) -> Callable[[Path], list[str]]:
    """Return a function that checks a samplesheet of sections ``s1``, ``s2`` and so on with more columns."""
    lines = [f"s{number},/x,{row}\n" for number, row in enumerate(rows, start=1)]
    return _sheet(f"sample,spaceranger_dir,{columns}\n{''.join(lines)}", **parameters)


def _folder(folder: Path) -> list[str]:
    (folder / "sheet.csv").mkdir()
    return check(folder / "sheet.csv", "--no-check-files")


def _missing(folder: Path) -> list[str]:
    return check(folder / "sheet.csv", "--no-check-files")


def _loop(folder: Path) -> list[str]:
    (folder / "sheet.csv").symlink_to(folder / "other.csv")
    (folder / "other.csv").symlink_to(folder / "sheet.csv")
    return check(folder / "sheet.csv", "--no-check-files")


CASES = (
    Case("a column is missing", _sheet("spaceranger_dir\n/x\n")),
    Case("no column of a source", _sheet("sample,image\na,/x\n")),
    Case("a column is misspelt", _sheet("sampel,spaceranger_dir\na,/x\n")),
    Case("a column in camel case", _sheet("sample,spacerangerDir\na,/x\n")),
    Case("a column that is not known", _sheet("sample,spaceranger_dir,fastq\na,/x,y\n")),
    Case("a column twice", _sheet("sample,h5ad,h5ad\na,/x.h5ad,\n")),
    Case("a column without a name", _sheet("sample,,h5ad\na,,/x.h5ad\n")),
    Case("a sample twice", _sheet(GOOD + "b,/x\na,/y\n")),
    Case("no name of a sample", _sheet(GOOD + ",/y\n")),
    Case("a space in a sample's name", _sheet("sample,spaceranger_dir\na b,/x\n")),
    Case("a quote in a sample's name", _sheet('sample,spaceranger_dir\n"a""b",/x\n')),
    Case("a path as a sample's name", _sheet("sample,spaceranger_dir\n../a,/x\n")),
    Case("dots as a sample's name", _sheet("sample,spaceranger_dir\n..,/x\n")),
    Case("an umlaut in a sample's name", _sheet("sample,spaceranger_dir\nMäuse,/x\n")),
    Case("an option as a sample's name", _sheet("sample,spaceranger_dir\n-rf,/x\n")),
    Case("a sample's name of 101 letters", _sheet(f"sample,spaceranger_dir\n{'a' * 101},/x\n")),
    Case("neither source", _sheet("sample,spaceranger_dir,h5ad\na,,\n")),
    Case("both sources", _sheet("sample,spaceranger_dir,h5ad\na,/x,/x.h5ad\n")),
    Case("SpatialData beside another source", _sheet("sample,h5ad,spatialdata\na,/x.h5ad,/x.zarr\n")),
    Case("SpatialData of another kind", _sheet("sample,spatialdata\na,/x.zip\n")),
    Case("an h5ad of another kind", _sheet("sample,h5ad\na,/x.rds\n")),
    Case("a bin size of an h5ad", _sheet("sample,h5ad,bin_size\na,/x.h5ad,8\n")),
    Case("a bin size in words", _sheet("sample,spaceranger_dir,bin_size\na,/x,8um\n")),
    Case("a bin size of zero", _sheet("sample,spaceranger_dir,bin_size\na,/x,0\n")),
    Case("a platform that is not known", _sheet("sample,h5ad,platform\na,/x.h5ad,geomx\n")),
    Case("a pitch with its unit", _sheet("sample,h5ad,pitch_um\na,/x.h5ad,20um\n")),
    Case("a pitch of zero", _sheet("sample,h5ad,pitch_um\na,/x.h5ad,0\n")),
    Case("a negative scale", _sheet("sample,h5ad,um_per_px\na,/x.h5ad,-0.5\n")),
    Case("a number of domains in words", _sheet("sample,spaceranger_dir,n_domains\na,/x,seven\n")),
    Case("one domain", _sheet("sample,spaceranger_dir,n_domains\na,/x,1\n")),
    Case("half a domain", _sheet("sample,spaceranger_dir,n_domains\na,/x,2.5\n")),
    Case("a truth of another kind", _sheet("sample,spaceranger_dir,truth\na,/x,/t.rds\n")),
    Case("a control character in a path", _sheet("sample,spaceranger_dir\na,/x\x07y\n")),
    Case("a path as a group's name", _sheet("sample,spaceranger_dir,group\na,/x,g/h\n")),
    Case("a group with the name of a sample", _sheet("sample,spaceranger_dir,group\na,/x,\nb,/x,a\nc,/x,a\n")),
    Case("a group with the name of its own sample", _sheet("sample,spaceranger_dir,group\na,/x,a\nb,/x,a\n")),
    Case(
        "two numbers of domains in a group",
        _sheet("sample,spaceranger_dir,group,n_domains\na,/x,g,7\nb,/x,g,\nc,/x,g,5\n"),
    ),
    Case("condition misspelt", _study("conditon", "ctrl", "treated")),
    Case("a covariate without its prefix", _study("sex", "f", "m")),
    Case("a space in a condition", _study("condition", "ctrl", "low dose")),
    Case("a control character in a covariate", _study("covariate_diet", "fat\x07", "lean")),
    Case("a section without condition", _study("condition", "ctrl", "ctrl", "treated", "treated", "")),
    Case("a section without donor", _study("condition,donor", "ctrl,d1", "ctrl,d2", "treated,d3", "treated,")),
    Case("a section without a covariate", _study("covariate_sex", "f", "", "")),
    Case("one condition alone", _study("condition", "ctrl", "ctrl", "ctrl")),
    Case("one section of a condition", _study("condition", "ctrl", "ctrl", "treated")),
    Case("one donor of a condition", _study("condition,donor", "ctrl,d1", "ctrl,d2", "treated,d3", "treated,d3")),
    Case("a control that no row has", _study("condition", *["ctrl"] * 2, *["treated"] * 2, control="contrl")),
    Case("a control without conditions", _study("group", "g", "g", control="ctrl")),
    Case(
        "a covariate that tells the condition",
        _study("condition,covariate_batch", "ctrl,1", "ctrl,1", "treated,2", "treated,2"),
    ),
    Case(
        "covariates that tell the condition together",
        _study("condition,covariate_batch,covariate_sex", *["a,1,f"] * 3, "b,2,f", *["b,1,m"] * 2),
    ),
    Case("conditions in groups of their own", _study("condition,group", *["ctrl,g1"] * 2, *["treated,g2"] * 2)),
    Case(
        "too few sections for the covariates",
        _study("condition,covariate_batch", "ctrl,1", "ctrl,2", "treated,1", "treated,3"),
    ),
    Case("a row that is too short", _sheet("sample,spaceranger_dir,group\na,/x\n")),
    Case("a row that is too long", _sheet(GOOD + "b,/x,y\n")),
    Case("a quote that is not closed", _sheet(GOOD + 'b,"/x\n')),
    Case("text after a quote", _sheet(GOOD + 'b,"/x"y\n')),
    Case("semicolons for commas", _sheet("sample;spaceranger_dir\na;/x\n")),
    Case("tabs in a file named .csv", _sheet("sample\tspaceranger_dir\na\t/x\n")),
    Case("an empty file", _sheet("")),
    Case("blank lines alone", _sheet("\n\n")),
    Case("column names alone", _sheet("sample,spaceranger_dir\n")),
    Case("UTF-16", _sheet(GOOD.encode("utf-16"))),
    Case("Latin-1", _sheet("sample,h5ad\na,/ü.h5ad\n".encode("latin-1"))),
    Case("null bytes", _sheet(b"sample,h5ad\na,/\0.h5ad\n")),
    Case("an Excel document named .csv", _sheet(b"PK\x03\x04rest")),
    Case("a name that ends otherwise", _sheet("", "sheet.xlsx")),
    Case("what is no YAML", _sheet("- sample: a\n  h5ad: [\n", "sheet.yaml")),
    Case("YAML of one map", _sheet("sample: a\n", "sheet.yaml")),
    Case("YAML of a list of text", _sheet("- a\n", "sheet.yaml")),
    Case("YAML with a column twice", _sheet("- {sample: a, h5ad: /x.h5ad, sample: b}\n", "sheet.yaml")),
    Case("YAML with a list as a value", _sheet("- {sample: [a], h5ad: /x.h5ad}\n", "sheet.yaml")),
    Case("YAML that holds itself", _sheet("&a [*a]\n", "sheet.yaml")),
    Case("what is no JSON", _sheet('[{"sample": "a",}]', "sheet.json")),
    Case("JSON of one object", _sheet('{"sample": "a"}', "sheet.json")),
    Case("JSON with true as a value", _sheet('[{"sample": true, "h5ad": "/x.h5ad"}]', "sheet.json")),
    Case("JSON nested 100,000 deep", _sheet("[" * 100_000, "sheet.json")),
    Case("JSON of an empty list", _sheet("[]", "sheet.json")),
    Case("JSON with a column misspelt", _sheet('[{"sample": "a", "h5da": "/x.h5ad"}]', "sheet.json")),
    Case("a folder for the samplesheet", _folder),
    Case("a samplesheet that is not there", _missing),
    Case("a samplesheet that is a link to itself", _loop),
    Case("several faults at once", _sheet("sample,spaceranger_dir,n_domains,colour\nb b,/x,1,\na,,2,\na,/x,x,\n")),
)
