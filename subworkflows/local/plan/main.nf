include { CHECK } from '../../../modules/local/check/main'
include { earlierOf } from '../earlier/main'
include { referenceOf } from '../reference/main'

// Return the path of `mmsrl-check` if it can run on this machine: tasks run without containers, the command is installed, and the
// samplesheet is a local file. Otherwise return null, and the check runs as a task.
def checkCommand(String container_engine, java.nio.file.Path samplesheet, java.nio.file.Path project_dir) {
    def is_local = samplesheet.fileSystem == java.nio.file.FileSystems.default
    def folders = ["${project_dir}/.venv/bin"] + (System.getenv('PATH') ?: '').tokenize(':')
    def command = folders.collect { folder -> file("${folder}/mmsrl-check") }.find { path -> path.exists() }
    return container_engine || !is_local ? null : command
}

// Run the check on this machine, before any task, and return its plan as text. Errors end the run with the message of the check.
def checkHere(java.nio.file.Path command, java.nio.file.Path samplesheet, String params_json, java.nio.file.Path project_dir) {
    def folder = java.nio.file.Files.createTempDirectory('mmsrl-check')
    def params_file = folder.resolve('params.json')
    def plan = folder.resolve('plan.json')
    params_file.text = params_json
    def arguments = ['--input', samplesheet, '--params', params_file, '--schema-dir', project_dir, '--output', plan]
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

// Resolve a path of the samplesheet: absolute, a URI, or relative to the folder of the samplesheet. Return [] for an empty field.
def locate(java.nio.file.Path samplesheet, String path) {
    if (!path) {
        return []
    }
    return path ==~ /^(\/|\w+:\/\/).*/ ? file(path, glob: false) : samplesheet.resolveSibling(path)
}

// Return the plan as a map: `sections` ([ meta, source, image, alignment, truth ] of every row), `earlier`, `references` and `code`. Missing
// files end the run, and the message names all of them.
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
    def earlier = plan.start_from ? earlierOf(plan.start_from, plan.earlier) : []
    def references = plan.reference ? [referenceOf(plan.reference)] : []
    return [sections: sections, earlier: earlier, references: references, code: plan.code]
}

// Validate samplesheet and parameters before anything is computed, and emit the sections.
workflow PLAN {
    take:
    samplesheet // file
    params_json // all parameters of the run, as JSON text
    project_dir // folder with nextflow_schema.json and assets/schema_input.json
    command // file: `mmsrl-check` on this machine, or null to check in a task

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
    earlier = plan.flatMap { p -> p.earlier } // [ ending, meta, file ]
    reference = plan.flatMap { p -> p.references } // [ unit, model, domains, counts ]; empty without a reference
    code = plan.map { p -> p.code }
    versions = versions
}
