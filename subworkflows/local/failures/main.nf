// What a task that failed said: the last line of its command's own error, else its last line at all.
def messageOf(java.nio.file.Path folder) {
    def said = folder.resolve('.command.err')
    def lines = said.exists() ? said.readLines().findAll { line -> line.trim() } : []
    return (lines.reverse().find { line -> line ==~ /mmsrl-\w+: error: .*/ } ?: (lines ? lines.last() : '')).toString()
}

// Tasks that failed for good, of the trace of the run as far as it is written: stage, id of the sample or unit, exit status and
// message. Of a trace that is written to a bucket nothing is to be seen before the run has ended, but the one of an earlier run.
def failures(java.nio.file.Path trace, long began, java.nio.file.Path work_dir) {
    def lines = trace.exists() && trace.lastModified() >= began ? trace.readLines().collect { line -> line.tokenize('\t') } : []
    def rows = lines ? lines.tail().collect { row -> [lines.head(), row].transpose().collectEntries() } : []
    def mended = rows.findAll { row -> row.status in ['COMPLETED', 'CACHED'] }.collect { row -> row.name }
    return rows
        .findAll { row -> row.status in ['FAILED', 'ABORTED'] && !(row.name in mended) }
        .collectEntries { row -> [row.name, row] }
        .collect { name, row ->
            def folder = files("${work_dir}/${row.hash}*", type: 'dir').find { found -> found }
            def tag = name.contains('(') ? name.split('[()]')[1].tokenize(' ').first() : ''
            [stage: name.tokenize(' ').first().tokenize(':').last().toLowerCase(), id: tag, exit: row.exit, message: folder ? messageOf(folder) : '']
        }
}
