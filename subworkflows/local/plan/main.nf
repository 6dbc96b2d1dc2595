include { CHECK } from '../../../modules/local/check/main'
include { earlierOf } from '../earlier/main'

// The command of the core that checks, where tasks run without containers, it is installed on this machine and the samplesheet
// is here; null where a task has to check.
def checkCommand(String container_engine, java.nio.file.Path samplesheet, java.nio.file.Path project_dir) {
    def here = samplesheet.fileSystem == java.nio.file.FileSystems.default
    def folders = ["${project_dir}/.venv/bin"] + (System.getenv('PATH') ?: '').tokenize(':')
    def found = folders.collect { folder -> file("${folder}/mmsrl-check") }.find { command -> command.exists() }
    return container_engine || !here ? null : found
}

// Run the check here, before any task, and return its plan; stop with its message where something is wrong.
def checkHere(java.nio.file.Path command, java.nio.file.Path samplesheet, String params_json, java.nio.file.Path project_dir) {
    def folder = java.nio.file.Files.createTempDirectory('mmsrl-check')
    def given = folder.resolve('params.json')
    def plan = folder.resolve('plan.json')
    given.text = params_json
    def arguments = ['--input', samplesheet, '--params', given, '--schema-dir', project_dir, '--output', plan]
    def check = ([command] + arguments).collect { part -> part.toString() }.execute()
    def messages = new StringBuilder()
    check.waitForProcessOutput(messages, messages)
    def text = check.exitValue() == 0 ? plan.text : null
    folder.deleteDir()
    if (text == null) {
        error(messages.toString().trim())
    }
    return text
}

// A path of the samplesheet: absolute, a URI, or relative to the samplesheet's folder; [] where there is none.
def locate(java.nio.file.Path samplesheet, String path) {
    if (!path) {
        return []
    }
    return path ==~ /^(\/|\w+:\/\/).*/ ? file(path, glob: false) : samplesheet.resolveSibling(path)
}

// [ meta, source, image, alignment, truth ] of every row; stops naming all files that are not there.
def readPlan(String text, java.nio.file.Path samplesheet) {
    def plan = new groovy.json.JsonSlurper().parseText(text)
    def sections = plan.samples.collect { row ->
        def size = plan.samples.count { other -> row.group && other.group == row.group }
        def column = ['spaceranger_dir', 'data_dir', 'h5ad', 'spatialdata'].find { name -> row[name] }
        def after = plan.start_from ? plan.start_after : null
        def stated = [column: column] + row.subMap(['bin_size', 'platform', 'pitch_um', 'um_per_px', 'expression']).findAll { _name, value -> value != null }
        def meta = [id: row.id, group: row.group, group_size: row.group ? size : null, n_domains: row.n_domains, stated: stated, design: row.subMap(['condition', 'donor', 'covariates']), after: after]
        [meta] + [column ? row[column] : null, row.image, row.alignment, row.truth].collect { path -> locate(samplesheet, path) }
    }
    def missing = sections.collectMany { section -> section.tail().findAll { path -> path && !path.exists() }.collect { path -> "sample ${section.head().id}: ${path} does not exist" } }
    if (missing) {
        error("${missing.size()} files of ${samplesheet.name} cannot be found\n  ${missing.join('\n  ')}")
    }
    def earlier = plan.start_from ? earlierOf(plan.start_from, plan.start_after, sections.collect { section -> section.head() }) : []
    return [sections: sections, earlier: earlier, code: plan.code]
}

// Check samplesheet and parameters before anything is computed, and turn the rows into sections.
workflow PLAN {
    take:
    samplesheet // file
    params_json // text: all parameters of the run
    project_dir // folder with nextflow_schema.json and assets/schema_input.json
    command // file: mmsrl-check of this machine, or null to check in a task

    main:
    if (command) {
        plan = channel.value(readPlan(checkHere(command, samplesheet, params_json, project_dir), samplesheet))
        versions = channel.empty()
    }
    else {
        CHECK(samplesheet, params_json, file("${project_dir}/nextflow_schema.json"), file("${project_dir}/assets/schema_input.json"))
        plan = CHECK.out.plan.map { file -> readPlan(file.text, samplesheet) }.first()
        versions = CHECK.out.versions
    }

    emit:
    sections = plan.flatMap { p -> p.sections }
    earlier = plan.flatMap { p -> p.earlier }
    code = plan.map { p -> p.code }
    versions = versions
}
