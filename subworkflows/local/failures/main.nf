// Return the error message of a failed task: the last line that a command of mmsrl printed as its error, else the last line of stderr.
def messageOf(java.nio.file.Path folder) {
    def stderr = folder.resolve('.command.err')
    def lines = stderr.exists() ? stderr.readLines().findAll { line -> line.trim() } : []
    return (lines.reverse().find { line -> line ==~ /mmsrl-\w+: error: .*/ } ?: (lines ? lines.last() : '')).toString()
}

// Return the tasks that failed and did not succeed on a retry: stage, id of the sample or unit, exit status and message. They are read
// from the trace, as far as it is written. A trace in a bucket is uploaded when the run ends; until then only that of an earlier run
// is there, which is ignored by its time.
def failures(java.nio.file.Path trace, long began, java.nio.file.Path work_dir) {
    def lines = trace.exists() && trace.lastModified() >= began ? trace.readLines().collect { line -> line.tokenize('\t') } : []
    def rows = lines ? lines.tail().collect { row -> [lines.head(), row].transpose().collectEntries() } : []
    def succeeded = rows.findAll { row -> row.status in ['COMPLETED', 'CACHED'] }.collect { row -> row.name }
    return rows
        .findAll { row -> row.status in ['FAILED', 'ABORTED'] && !(row.name in succeeded) }
        .collectEntries { row -> [row.name, row] }
        .collect { name, row ->
            def folder = files("${work_dir}/${row.hash}*", type: 'dir').find { match -> match }
            def tag = name.contains('(') ? name.split('[()]')[1].tokenize(' ').first() : ''
            [stage: name.tokenize(' ').first().tokenize(':').last().toLowerCase(), id: tag, exit: row.exit, message: folder ? messageOf(folder) : '']
        }
}
