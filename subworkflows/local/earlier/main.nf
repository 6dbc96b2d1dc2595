// Return [ ending, meta, file ] of the files of one section or unit. `stages` maps a stage to the endings of its files.
def filesOf(java.nio.file.Path root, Map meta, Map stages) {
    return stages.collectMany { stage, endings -> endings.collect { ending -> [ending, meta, root.resolve("${stage}/${meta.id}.${ending}")] } }
}

// Return [ ending, meta, file ] of the results of an earlier run, for sections and, after training, for their units; see `earlier` in
// ../spatial_domains/main.nf. Missing files end the run. The check reports them too (src/mmsrl/check/earlier.py), but it cannot see the
// folder if it runs as a task or the folder is in a bucket.
def earlierOf(String folder, String after, List sections) {
    def root = file(folder, glob: false)
    def trained = after == 'train'
    def section_stages = [ingest: ['ingest.json'], qc: ['qc.h5ad', 'qc.json']] + (trained ? [features: ['features.h5ad', 'features.json']] : [:])
    def units = sections.groupBy { meta -> meta.group ?: meta.id }.collect { unit, metas -> [id: unit.toString(), samples: metas.collect { meta -> meta.id }.sort()] }
    def unit_stages = trained ? [train: ['embedding.h5ad', 'training.tsv', 'model.npz', 'train.json']] : [:]
    def files = sections.collectMany { meta -> filesOf(root, meta.subMap('id'), section_stages) } + units.collectMany { unit -> filesOf(root, unit, unit_stages) }
    def missing = files.findAll { _ending, _meta, file -> !file.exists() }.collect { _ending, _meta, file -> "${file.parent.name}/${file.name}" }
    if (missing) {
        error("--start_from ${folder}: ${missing.size()} files are missing: ${missing.take(12).join(', ')}${missing.size() > 12 ? ' ...' : ''}; give the results of a run of these sections, whole")
    }
    def outlines = sections.collectMany { meta -> filesOf(root, meta.subMap('id'), [ingest: ['outlines.parquet']]) }.collect { ending, meta, file -> [ending, meta, file.exists() ? file : []] }
    def tiles = trained ? sections.collectMany { meta -> filesOf(root, meta.subMap('id'), [features: ['tiles.tif']]) }.findAll { _ending, _meta, file -> file.exists() } : []
    return files + outlines + tiles
}
