include { SPATIAL_DOMAINS } from '../subworkflows/local/spatial_domains/main'
include { REPORT } from '../modules/local/report/main'
include { failures } from '../subworkflows/local/failures/main'
include { INDEX } from '../modules/local/index/main'

// Collect all files of a channel of [ meta, files ] into one list, sorted by path and without metadata. Another order would change the
// task hash, and -resume would run the report again.
def filesOf(channel) {
    return channel.flatMap { _meta, files -> [files].flatten() }.toSortedList { file -> file.toString() }
}

// Return the size in bytes of a file, or of all files in a folder.
def sizeOf(file) {
    return file.isDirectory() ? file.listFiles().sum(0) { part -> sizeOf(part) } : file.size()
}

// Find spatial domains of tissue sections, and write the report and the index of the results.
workflow MMSRL {
    take:
    sections // [ meta, source, image, alignment, truth ]; see subworkflows/local/spatial_domains/main.nf
    weights // file: weights of the image network, or []
    gene_sets // value channel: GMT file, or []
    reference // value channel: [ unit, model, domains, counts ] of a trained unit that sections are mapped onto; empty without a reference
    more_seeds // list of integers: random seeds of further trainings of each unit
    earlier // [ ending, meta, file ] of the files of an earlier run; see subworkflows/local/spatial_domains/main.nf
    code // value channel: map of stage to the fingerprint of its code; [:] if the version of the container identifies the code
    params_json // value channel: all parameters of the run, as JSON text
    trace // file: execution trace of this run, which lists failed tasks
    began // integer: start of this run, in ms since 1970
    work_dir // folder: work directory of the tasks

    main:
    SPATIAL_DOMAINS(sections, weights, gene_sets, reference, more_seeds, earlier, code)
    results = SPATIAL_DOMAINS.out

    // The report names requested samples that are missing, with the error of the failed task. The trace is read after all other tasks have
    // ended. There is no report without any assembled section; sections without a page are listed too.
    requested = sections
        .map { meta, _source, _image, _alignment, truth -> [sample: meta.id, unit: meta.group ?: meta.id, labelled: truth as boolean] }
        .toSortedList { sample -> sample.sample }
    REPORT(
        filesOf(results.h5ad)
            .filter { files -> files }
            .combine(filesOf(results.cards).map { files -> [files] })
            .map { row -> row.last() },
        filesOf(results.summaries),
        results.versions.toSortedList { file -> file.toString() },
        filesOf(results.comparison),
        params_json,
        requested
            .map { samples -> [samples] }
            .combine(filesOf(results.summaries).map { _files -> [failures(trace, began, work_dir)] })
            .map { samples, failed -> groovy.json.JsonOutput.toJson([samples: samples, failures: failed]) },
        code.map { c -> c.report ?: '' },
    )

    // The index lists what conf/modules.config publishes. It needs names and sizes only, so no file is staged for it.
    files = results.files
        .mix(
            REPORT.out.html.map { file -> ['report', file] },
            REPORT.out.assets.flatMap { files -> files.collect { file -> ['report/assets', file] } },
            REPORT.out.multiqc.flatMap { files -> files.collect { file -> ['multiqc', file] } },
            REPORT.out.manifest.map { file -> ['pipeline_info', file] },
        )
        .map { folder, file -> [path: "${folder}/${file.name}".toString(), bytes: sizeOf(file)] }
        .toSortedList { file -> file.path }
    units = results.units.map { unit -> unit.subMap(['id', 'samples']) }.toSortedList { unit -> unit.id }
    samples = sections
        .map { meta, _source, _image, _alignment, _truth -> [id: meta.id] + [condition: null, donor: null, covariates: [:]] + (meta.design ?: [:]) }
        .toSortedList { sample -> sample.id }
    INDEX(
        files
            .map { listed -> [listed] }
            .combine(units.map { listed -> [listed] })
            .combine(samples.map { listed -> [listed] })
            .map { listed -> groovy.json.JsonOutput.toJson([files: listed[0], units: listed[1], samples: listed[2]]) },
        code.map { c -> c.index ?: '' },
    )

    emit:
    report = REPORT.out.html // file
    manifest = REPORT.out.manifest // file
    multiqc = REPORT.out.multiqc // files
    index = INDEX.out.json // file
    versions = results.versions.mix(REPORT.out.versions, INDEX.out.versions) // file
}
