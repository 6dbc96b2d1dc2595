// Files of one id in the results of a run: stage to the endings of what it left.
def filesOf(java.nio.file.Path root, Map meta, Map stages) {
    return stages.collectMany { stage, endings -> endings.collect { ending -> [ending, meta, root.resolve("${stage}/${meta.id}.${ending}")] } }
}

// [ ending, meta, file ] of what a run in a folder left of sections and, after training, of their units; see `earlier` in
// ../spatial_domains/main.nf. The check says the same of a folder that it sees (src/mmsrl/check/earlier.py); it does not where it is a
// task, or the folder is in a bucket.
def earlierOf(String folder, String after, List sections) {
    def root = file(folder, glob: false)
    def trained = after == 'train'
    def needed = [ingest: ['ingest.json'], qc: ['qc.h5ad', 'qc.json']] + (trained ? [features: ['features.h5ad', 'features.json']] : [:])
    def units = sections.groupBy { meta -> meta.group ?: meta.id }.collect { unit, metas -> [id: unit.toString(), samples: metas.collect { meta -> meta.id }.sort()] }
    def of_units = trained ? [train: ['embedding.h5ad', 'training.tsv', 'model.npz', 'train.json']] : [:]
    def files = sections.collectMany { meta -> filesOf(root, meta.subMap('id'), needed) } + units.collectMany { unit -> filesOf(root, unit, of_units) }
    def missing = files.findAll { _ending, _meta, file -> !file.exists() }.collect { _ending, _meta, file -> "${file.parent.name}/${file.name}" }
    if (missing) {
        error("--start_from ${folder}: ${missing.size()} files are missing: ${missing.take(12).join(', ')}${missing.size() > 12 ? ' ...' : ''}; give the results of a run of these sections, whole")
    }
    def outlines = sections.collectMany { meta -> filesOf(root, meta.subMap('id'), [ingest: ['outlines.parquet']]) }.collect { ending, meta, file -> [ending, meta, file.exists() ? file : []] }
    def tiles = trained ? sections.collectMany { meta -> filesOf(root, meta.subMap('id'), [features: ['tiles.tif']]) }.findAll { _ending, _meta, file -> file.exists() } : []
    return files + outlines + tiles
}
