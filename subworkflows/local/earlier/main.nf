// Return [ ending, meta, file ] of the results of an earlier run; see `earlier` in ../spatial_domains/main.nf. `listed` are the entries of
// the plan (src/mmsrl/check/earlier.py): path in the folder, ending, id and samples of the section or unit, and whether the file is
// required. Missing files end the run. The check reports them too, but it cannot see the folder if it runs as a task or the folder is in
// a bucket.
def earlierOf(String folder, List listed) {
    def root = file(folder, glob: false)
    def entries = listed.collect { entry ->
        def path = root.resolve(entry.path)
        entry + [meta: [id: entry.id] + (entry.samples ? [samples: entry.samples] : [:]), file: path.exists() ? path : []]
    }
    def missing = entries.findAll { entry -> entry.required && !entry.file }.collect { entry -> entry.path }
    if (missing) {
        error("--start_from ${folder}: ${missing.size()} files are missing: ${missing.take(12).join(', ')}${missing.size() > 12 ? ' ...' : ''}; give the results of a run of these sections, whole")
    }
    return entries.collect { entry -> [entry.ending, entry.meta, entry.file] }
}
