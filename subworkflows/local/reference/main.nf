// Return the path of a file in the results. `kind` are its folder and the ending of its name.
def fileOf(java.nio.file.Path root, List kind, String id) {
    return root.resolve("${kind[0]}/${id}.${kind[1]}")
}

// Return [ unit, model, domains, counts ] of a trained unit in the results of a run; `counts` are the files of all its sections. `reference`
// is the entry of the plan: folder, unit or null, and folder and ending of each kind of file (src/mmsrl/map/reference.py). Missing files
// end the run. The check reports them too, but it cannot see the folder if it runs as a task or the folder is in a bucket.
def referenceOf(Map reference) {
    def root = file(reference.folder, glob: false)
    def stage = reference.files.model[0]
    def ending = reference.files.model[1]
    def train = root.resolve(stage)
    def models = train.exists() ? train.listFiles().findAll { file -> file.name.endsWith(".${ending}") } : []
    def units = models.collect { file -> file.name - ".${ending}" }.sort()
    if (!units || (!reference.unit && units.size() > 1) || (reference.unit && !(reference.unit in units))) {
        def problem = units ? "holds the units ${units.join(', ')}; name one of them: --reference_unit" : "has no ${stage}/<unit>.${ending}; give the results of an earlier run"
        error("--reference ${reference.folder} ${problem}")
    }
    def unit = reference.unit ?: units.first()
    def domains = fileOf(root, reference.files.domains, unit)
    def samples = domains.exists() ? domains.splitCsv(header: true).collect { row -> row.sample }.unique().sort() : []
    def counts = samples.collect { sample -> fileOf(root, reference.files.counts, sample) }
    def missing = ([domains] + counts).find { file -> !file.exists() }
    if (missing) {
        error("--reference ${reference.folder}: ${missing} is missing; copy the results whole")
    }
    return [unit, fileOf(root, reference.files.model, unit), domains, counts]
}
