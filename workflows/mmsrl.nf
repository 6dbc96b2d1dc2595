include { SPATIAL_DOMAINS } from '../subworkflows/local/spatial_domains/main'
include { REPORT } from '../modules/local/report/main'
include { failures } from '../subworkflows/local/failures/main'
include { INDEX } from '../modules/local/index/main'

// All files of a channel of [ meta, files ] as one list, sorted by path: in another order, or with other metadata, the
// same files would make the report run again on -resume.
def filesOf(channel) {
    return channel.flatMap { _meta, files -> [files].flatten() }.toSortedList { file -> file.toString() }
}

// Bytes of a file, or of all that is in a folder.
def sizeOf(file) {
    return file.isDirectory() ? file.listFiles().sum(0) { part -> sizeOf(part) } : file.size()
}

// From tissue sections to spatial domains and a report.
workflow MMSRL {
    take:
    sections // [ meta, source, image, alignment, truth ]; see subworkflows/local/spatial_domains/main.nf
    weights // file: of the network that describes images, or []
    gene_sets // value channel: GMT file to compare markers with, or []
    reference // value channel: [ unit, model, domains, counts ] of a unit to map all sections onto; empty where there is none
    more_seeds // list of integers: of further trainings of each unit
    earlier // [ ending, meta, file ] of an earlier run that sections go on from; see subworkflows/local/spatial_domains/main.nf
    code // value channel: map of stage to fingerprint of its code; [:] where the container's version tells
    params_json // value channel: text, the parameters for report and manifest
    trace // file: trace of this run, for why tasks failed
    began // integer: when this run began, in milliseconds
    work_dir // folder of the tasks

    main:
    SPATIAL_DOMAINS(sections, weights, gene_sets, reference, more_seeds, earlier, code)
    found = SPATIAL_DOMAINS.out

    // What was asked for and what failed, so that the report can name what is missing and why. The trace is read after all
    // other tasks have ended. Where nothing is left there is no report; a section without a page is in it all the same.
    asked = sections
        .map { meta, _source, _image, _alignment, truth -> [sample: meta.id, unit: meta.group ?: meta.id, labelled: truth as boolean] }
        .toSortedList { sample -> sample.sample }
    REPORT(
        filesOf(found.h5ad)
            .filter { files -> files }
            .combine(filesOf(found.cards).map { files -> [files] })
            .map { row -> row.last() },
        filesOf(found.summaries),
        found.versions.toSortedList { file -> file.toString() },
        filesOf(found.comparison),
        params_json,
        asked
            .map { samples -> [samples] }
            .combine(filesOf(found.summaries).map { _files -> [failures(trace, began, work_dir)] })
            .map { samples, failed -> groovy.json.JsonOutput.toJson([samples: samples, failures: failed]) },
        code.map { c -> c.report ?: '' },
    )

    // What conf/modules.config publishes, and where: names and sizes are enough, so that no file is moved for the index.
    files = found.files
        .mix(
            REPORT.out.html.map { file -> ['report', file] },
            REPORT.out.assets.flatMap { files -> files.collect { file -> ['report/assets', file] } },
            REPORT.out.multiqc.flatMap { files -> files.collect { file -> ['multiqc', file] } },
            REPORT.out.manifest.map { file -> ['pipeline_info', file] },
        )
        .map { folder, file -> [path: "${folder}/${file.name}".toString(), bytes: sizeOf(file)] }
        .toSortedList { file -> file.path }
    units = found.units.map { unit -> unit.subMap(['id', 'samples']) }.toSortedList { unit -> unit.id }
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
    versions = found.versions.mix(REPORT.out.versions, INDEX.out.versions) // file
}
