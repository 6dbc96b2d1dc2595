// Return [ unit, model, domains, counts ] of a trained unit in the results of a run; `counts` are the files of all its sections. Missing
// files end the run. The check reports them too (src/mmsrl/map/reference.py), but it cannot see the folder if it runs as a task.
def referenceOf(String folder, String name) {
    def root = file(folder, glob: false)
    def train = root.resolve('train')
    def models = train.exists() ? train.listFiles().findAll { file -> file.name.endsWith('.model.npz') } : []
    def units = models.collect { file -> file.name - '.model.npz' }.sort()
    if (!units || (!name && units.size() > 1) || (name && !(name in units))) {
        def problem = units ? "holds the units ${units.join(', ')}; name one of them: --reference_unit" : 'has no train/<unit>.model.npz; give the results of an earlier run'
        error("--reference ${folder} ${problem}")
    }
    def unit = name ?: units.first()
    def domains = root.resolve("domains/${unit}.domains.csv")
    def samples = domains.exists() ? domains.splitCsv(header: true).collect { row -> row.sample }.unique().sort() : []
    def counts = samples.collect { sample -> root.resolve("qc/${sample}.qc.h5ad") }
    def missing = ([domains] + counts).find { file -> !file.exists() }
    if (missing) {
        error("--reference ${folder}: ${missing} is missing; copy the results whole")
    }
    return [unit, train.resolve("${unit}.model.npz"), domains, counts]
}
