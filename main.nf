#!/usr/bin/env nextflow

include { MMSRL } from './workflows/mmsrl'
include { PLAN ; checkCommand } from './subworkflows/local/plan/main'
include { failures } from './subworkflows/local/failures/main'
include { helpText } from './subworkflows/local/help/main'

// Return false for null, '' and 'null', which all mean "not given", as in the check (src/mmsrl/check/params.py).
def isGiven(value) {
    return !(value in [null, '', 'null'])
}

// Parse an integer parameter that shapes the workflow. It is validated here because the check can be a task, which would be too late.
def wholeNumber(String name, value, long fallback, long least) {
    def text = value instanceof Number ? value.toLong().toString() : isGiven(value) ? value.toString().trim() : fallback.toString()
    if (!(text ==~ /\d{1,18}/) || text.toLong() < least) {
        error("--${name} must be a whole number, at least ${least}, not '${text}'")
    }
    return text.toLong()
}

// Return a file of the results. The name of the folder may contain glob characters, so globbing is off.
def inOutdir(String name) {
    return file(name ? "${params.outdir}/${name}" : params.outdir, glob: false)
}

workflow {
    main:
    began = workflow.start.toInstant().toEpochMilli()
    reports = [] // stays empty if every section failed, even if an earlier run left a report
    if (params.help.toString() == 'true') {
        println(helpText(file("${projectDir}/nextflow_schema.json")))
    }
    else if (!params.input || !params.outdir) {
        error("--input and --outdir are needed: a samplesheet, and a folder for the results (--help lists all parameters)")
    }
    else {
        trace = inOutdir('pipeline_info/execution_trace.txt')
        params_json = groovy.json.JsonOutput.toJson(params)
        samplesheet = file(params.input, checkIfExists: true, glob: false)

        PLAN(samplesheet, params_json, projectDir, checkCommand(workflow.containerEngine, samplesheet, projectDir))
        weights = params.backbone_weights ? file(params.backbone_weights, checkIfExists: true, glob: false) : []
        // The first training of a unit uses --seed, and further trainings use the next random seeds.
        // Without --seed it is that of the preset (src/mmsrl/train/presets.py); only published presets train again.
        first_seed = wholeNumber('seed', params.seed, 110, 0)
        more_seeds = (1..<wholeNumber('n_seeds', params.n_seeds, 1, 1)).collect { training -> first_seed + training }
        gene_sets = params.gene_sets ? file(params.gene_sets, checkIfExists: true, glob: false) : []
        MMSRL(PLAN.out.sections, weights, channel.value(gene_sets), PLAN.out.reference, more_seeds, PLAN.out.earlier, PLAN.out.code, channel.value(params_json), trace, began, workflow.workDir)
        MMSRL.out.report.subscribe { file -> reports << file }
    }

    workflow.onComplete = {
        if (params.outdir && params.help.toString() != 'true') {
            def report = inOutdir('report/mmsrl_report.html')
            // With workflow.failOnIgnore some releases of Nextflow report a run with ignored tasks as failed, others as successful.
            def completed = workflow.success || (workflow.stats.ignoredCount > 0 && !workflow.errorReport)
            if (workflow.stats.ignoredCount > 0) {
                def failed = failures(inOutdir('pipeline_info/execution_trace.txt'), began, workflow.workDir)
                def messages = failed.collect { task -> "\n  ${task.stage} of ${task.id}, exit status ${task.exit}: ${task.message}" }
                def summary = failed && failed.every { task -> task.stage == 'compare' } ? 'The conditions could not be compared' : 'Not all sections could be analysed'
                log.error("${summary}. Fix the cause and start the same command with -resume.${messages.join('')}")
            }
            log.info(
                completed
                    ? (reports ? "Report:  ${report.toUriString()}\n" : params.skip_report.toString() == 'true' ? '' : "There is no report: no section could be analysed.\n") + "Results: ${inOutdir('').toUriString()}"
                    : "The run stopped; finished tasks are kept. Fix the cause and start the same command with -resume."
            )
        }
    }
}
