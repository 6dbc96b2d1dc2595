include { INGEST } from '../../../modules/local/ingest/main'
include { QC } from '../../../modules/local/qc/main'
include { FEATURES } from '../../../modules/local/features/main'
include { TRAIN } from '../../../modules/local/train/main'
include { DOMAINS } from '../../../modules/local/domains/main'
include { MARKERS } from '../../../modules/local/markers/main'
include { TRAJECTORY } from '../../../modules/local/trajectory/main'
include { ENHANCE } from '../../../modules/local/enhance/main'
include { EVALUATE } from '../../../modules/local/evaluate/main'
include { MAP } from '../../../modules/local/map/main'
include { COMPARE } from '../../../modules/local/compare/main'
include { ASSEMBLE } from '../../../modules/local/assemble/main'
include { FIGURES } from '../../../modules/local/figures/main'

// Return the folder of an input that another process emits file by file, as nf-core's spaceranger/count does.
def folderOf(source) {
    return source instanceof Collection ? source.min { file -> file.nameCount }.parent : source
}

// Return one line for each file below a folder: relative path, size and modification time. Links are followed. No folder is entered
// twice, because links can form a cycle. Broken links are skipped: `ingest` reports the files that it misses.
def filesBelow(java.nio.file.Path folder, java.nio.file.Path top, Set seen) {
    def here = folder.fileSystem == java.nio.file.FileSystems.default ? folder.toRealPath() : folder
    if (!seen.add(here)) {
        return []
    }
    try {
        return folder.listFiles().sort { file -> file.name }.collectMany { file ->
            if (file.isDirectory()) {
                return filesBelow(file, top, seen)
            }
            return file.name.startsWith('.') || !file.exists() ? [] : ["${top.relativize(file)} ${file.size()} ${file.lastModified()}".toString()]
        }
    }
    catch (java.nio.file.AccessDeniedException _e) {
        // The readable files beside this folder still tell changes apart.
        return ['not all of it']
    }
}

// Return a checksum of the files in a folder, or an empty string for a file. Nextflow's own hash of a folder does not change when a
// file inside it changes.
def contentsOf(java.nio.file.Path source) {
    return source.isDirectory() ? filesBelow(source, source, [] as Set).sort().join('\n').md5() : ''
}

// Keep the outputs of the first training of each unit. Only further trainings have a seed in their meta map.
def firstOf(channel) {
    return channel.filter { training, _file -> training.seed == null }
}

// Return [ meta, file ] of the files of an earlier run with this ending, in the form in which their process emitted them.
def earlierFiles(earlier, String ending) {
    return earlier.filter { kind, _meta, _file -> kind == ending }.map { _kind, meta, file -> [meta, file] }
}

// Return [ unit, file ] of the files of an earlier run with this ending. The meta map of a unit also holds its size.
def earlierUnitFiles(units, earlier, String ending) {
    return units
        .map { unit, _members -> [unit.id, unit] }
        .join(earlierFiles(earlier, ending).map { meta, file -> [meta.id, file] }, failOnDuplicate: true)
        .map { _id, unit, file -> [unit, file] }
}

// Return the number of spots and of non-zero counts of a unit, from the summaries of quality control, or an empty map if a summary
// lacks them. conf/resources.config derives the resources of tasks from them.
def sizesOf(List summaries) {
    def results = summaries.collect { file -> file.size() ? new groovy.json.JsonSlurper().parse(file).result : [:] }
    return results.every { result -> result.n_entries } ? [spots: results.sum { result -> result.n_spots }, entries: results.sum { result -> result.n_entries }] : [:]
}

// Append the output of an optional stage to the rows of a channel, or [] if the stage failed, was skipped or has no output. A left
// join: `remainder` keeps the unmatched rows of both sides, and the filter removes those of the right side.
def withOptional(channel, output) {
    return channel
        .join(output, remainder: true, failOnDuplicate: true)
        .filter { row -> row[1] != null }
        .map { row -> row.collect { value -> value == null ? [] : value } }
}

// Collect the outputs of a stage that runs by section into one list per unit, sorted by name; [] if it has none.
def byUnit(units, output) {
    return withOptional(units.flatMap { unit, members -> members.collect { member -> [member.meta.subMap('id'), unit] } }, output)
        .map { _section, unit, file -> [groupKey(unit, unit.samples.size()), file] }
        .groupTuple()
        .map { unit, files -> [unit.target, files.flatten().sort { file -> file.name }] }
}

// Return the study design of sections as JSON text: condition, donor and covariates; '' if no section has any.
def designOf(metas) {
    def designed = metas.findAll { meta -> meta.design && (meta.design.condition || meta.design.donor || meta.design.covariates) }
    def samples = designed.collect { meta -> [sample: meta.id, condition: meta.design.condition ?: null, donor: meta.design.donor ?: null, covariates: meta.design.covariates ?: [:]] }
    return samples ? groovy.json.JsonOutput.toJson([samples: samples]) : ''
}

// Return [ folder, file ] for every file of a channel of [ meta, file or files ].
def under(String folder, channel) {
    return channel.flatMap { _meta, files -> [files].flatten().collect { file -> [folder, file] } }
}

// Find the spatial domains of tissue sections, and derive markers, pseudotime, de-noised expression and figures from them. Options
// reach the modules by ext.args; no pipeline parameter is read. docs/embedding.md shows how to include it in another pipeline.
workflow SPATIAL_DOMAINS {
    take:
    // [ meta, source, image, alignment, truth ] for each section.
    // meta: `id`; optional: `group` (sections of one group are analysed jointly), `group_size` (a group starts as soon as it is complete),
    // `n_domains`, `stated` (map: column, bin_size, platform, pitch_um, um_per_px and expression of the samplesheet), `design` (map:
    // condition, donor and covariates by name; sections with a condition are compared), `after` (qc or train: the last stage whose files
    // come from `earlier`).
    // source: a folder of Space Ranger or of another instrument, a list of all its files, an archive of it, .h5ad or .zarr; [] if `after`
    // is set. image, alignment and truth: file or [].
    sections
    weights // file: weights of the image network, or []
    gene_sets // value channel: GMT file, or []
    reference // value channel: [ unit, model, domains, counts ] of a trained unit that sections are mapped onto; empty without a reference
    more_seeds // list of integers: random seeds of further trainings of each unit, whose embeddings join the ensemble; or []
    // [ ending, meta, file ] for each file of an earlier run. By section (meta: `id`): qc.h5ad, ingest.json, qc.json and outlines.parquet
    // (file: [] if there is none); after training also features.h5ad, features.json and tiles.tif (file or []). By unit (meta: `id`
    // and `samples`, the sorted ids of its sections), after training: embedding.h5ad, training.tsv, model.npz and train.json.
    earlier
    code // value channel: map of stage to the fingerprint of its code; [:] if the version of the container identifies the code

    main:
    // Joins. No key may come twice: failOnDuplicate. Outputs of one process must come in pairs: failOnMismatch. Between processes a
    // section or unit may be missing on one side, because its task failed and was ignored.

    // The meta map of a task holds the id alone. Other metadata would change the hash of the task, and -resume would run it again.
    new_sections = sections.filter { meta, _source, _image, _alignment, _truth -> !meta.after }
    ingest_input = new_sections.combine(code).multiMap { meta, source, _image, _alignment, _truth, fingerprints ->
        section: [meta.subMap('id'), folderOf(source), meta.stated ?: [:]]
        hash: "${fingerprints.ingest ?: ''} ${contentsOf(folderOf(source))}".toString()
    }
    INGEST(ingest_input.section, ingest_input.hash)

    QC(INGEST.out.h5ad, code.map { c -> c.qc ?: '' })
    filtered = QC.out.h5ad.mix(earlierFiles(earlier, 'qc.h5ad'))

    MAP(filtered.combine(reference), code.map { c -> c.map ?: '' })

    images = sections
        .filter { meta, _source, _image, _alignment, _truth -> meta.after != 'train' }
        .map { meta, _source, image, alignment, _truth -> [meta.subMap('id'), image, alignment] }
    FEATURES(filtered.join(images, failOnDuplicate: true), weights, code.map { c -> c.features ?: '' })
    tiles = FEATURES.out.tiles.mix(earlierFiles(earlier, 'tiles.tif').filter { _meta, file -> file })
    ingest_summaries = INGEST.out.summary.mix(earlierFiles(earlier, 'ingest.json'))
    qc_summaries = QC.out.summary.mix(earlierFiles(earlier, 'qc.json'))
    features_summaries = FEATURES.out.summary.mix(earlierFiles(earlier, 'features.json'))

    // A unit is a section, or all sections of a group, which are analysed jointly. Its sections are sorted, so that the order of arrival
    // changes nothing.
    metadata = sections.map { meta, _source, _image, _alignment, truth -> [meta.subMap('id'), meta, truth] }
    described = FEATURES.out.h5ad
        .mix(earlierFiles(earlier, 'features.h5ad'))
        .join(features_summaries, failOnDuplicate: true, failOnMismatch: true)
    outlined = INGEST.out.outlines
        .mix(earlierFiles(earlier, 'outlines.parquet'))
        .join(ingest_summaries, failOnDuplicate: true, failOnMismatch: true)
    units = filtered
        .join(qc_summaries, failOnDuplicate: true, failOnMismatch: true)
        .join(described, failOnDuplicate: true)
        .join(outlined, failOnDuplicate: true)
        .join(metadata, failOnDuplicate: true)
        .map { _id, counts, qc, features, image, outlines, ingest, meta, truth ->
            def unit = meta.group ?: meta.id
            def size = meta.group ? meta.group_size : 1
            [size ? groupKey(unit, size) : unit, [meta: meta, counts: counts, features: features, truth: truth, outlines: [outlines].flatten(), summaries: [ingest, qc, image]]]
        }
        .groupTuple()
        .map { unit, members ->
            def sorted = members.sort { member -> member.meta.id }
            [[id: unit.toString(), samples: sorted.collect { member -> member.meta.id }] + sizesOf(sorted.collect { member -> member.summaries[1] }), sorted]
        }
    unit_counts = units.map { unit, members -> [unit, members.collect { member -> member.counts }] }
    unit_inputs = units.map { unit, members -> [unit, members.collect { member -> member.counts }, members.collect { member -> member.features }] }

    trainings = units
        .filter { _unit, members -> members.first().meta.after != 'train' }
        .flatMap { unit, members ->
            ([unit] + more_seeds.collect { seed -> unit + [seed: seed] }).collect { training ->
                [training, members.collect { member -> member.counts }, members.collect { member -> member.features }]
            }
        }
    TRAIN(trainings, code.map { c -> c.train ?: '' })
    train_summaries = firstOf(TRAIN.out.summary).mix(earlierUnitFiles(units, earlier, 'train.json'))
    losses = firstOf(TRAIN.out.log).mix(earlierUnitFiles(units, earlier, 'training.tsv'))

    all_embeddings = TRAIN.out.embedding.mix(earlierUnitFiles(units, earlier, 'embedding.h5ad'))
    ensembles = all_embeddings
        .map { training, embedding -> [training.findAll { key, _value -> key != 'seed' }, [training.seed, embedding]] }
        .groupTuple(size: 1 + more_seeds.size())
        .map { unit, members -> [unit, members.sort { member -> member.first() }.collect { member -> member.last() }] }
    embeddings = firstOf(all_embeddings)

    n_domains = units.map { unit, members -> [unit, members.first().meta.n_domains ?: []] }
    DOMAINS(ensembles.join(n_domains, failOnDuplicate: true), code.map { c -> c.domains ?: '' })

    settings = DOMAINS.out.csv
        .join(train_summaries, failOnDuplicate: true)
        .join(DOMAINS.out.summary, failOnDuplicate: true, failOnMismatch: true)
    MARKERS(unit_inputs.join(settings, failOnDuplicate: true), gene_sets, code.map { c -> c.markers ?: '' })

    labelled_spots = embeddings.join(DOMAINS.out.csv, failOnDuplicate: true)
    TRAJECTORY(unit_counts.join(labelled_spots, failOnDuplicate: true), code.map { c -> c.trajectory ?: '' })

    models = firstOf(TRAIN.out.model).mix(earlierUnitFiles(units, earlier, 'model.npz'))
    trained = embeddings.join(models, failOnDuplicate: true, failOnMismatch: true)
    ENHANCE(unit_inputs.join(trained, failOnDuplicate: true), code.map { c -> c.enhance ?: '' })

    // `evaluate` runs for units with ground truth only, and is the only stage that reads it.
    truths = units
        .map { unit, members -> [unit, members.findAll { member -> member.truth }] }
        .filter { _unit, members -> members }
        .map { unit, members -> [unit, members.collect { member -> member.meta.id }, members.collect { member -> member.truth }] }
    predictions = withOptional(DOMAINS.out.csv.join(embeddings, failOnDuplicate: true), TRAJECTORY.out.h5ad)
    EVALUATE(predictions.join(truths, failOnDuplicate: true), code.map { c -> c.evaluate ?: '' })

    // `compare` runs once, over all sections with a condition. Only `compare` and `assemble` read the design.
    compared = units
        .join(DOMAINS.out.csv, failOnDuplicate: true)
        .map { _unit, members, domains -> [members.findAll { member -> member.meta.design?.condition }.collect { member -> member.counts }, domains] }
        .filter { files, _domains -> files }
    study = sections.map { meta, _source, _image, _alignment, _truth -> meta }.filter { meta -> meta.design?.condition }.toList()
    COMPARE(
        compared.flatMap { files, _domains -> files }.toSortedList { file -> file.name }.filter { files -> files },
        compared.map { _files, domains -> domains }.toSortedList { file -> file.name }.filter { files -> files },
        study.filter { metas -> metas }.map { metas -> designOf(metas) },
        gene_sets,
        code.map { c -> c.compare ?: '' },
    )

    // A unit keeps its domains if an optional stage fails.
    results = withOptional(withOptional(labelled_spots, TRAJECTORY.out.h5ad), ENHANCE.out.h5ad)
    required_summaries = units
        .map { unit, members -> [unit, members.collectMany { member -> member.summaries }] }
        .join(train_summaries, failOnDuplicate: true)
        .join(DOMAINS.out.summary, failOnDuplicate: true)
    unit_summaries = [MARKERS.out.summary, TRAJECTORY.out.summary, ENHANCE.out.summary]
        .inject(required_summaries) { rows, output -> withOptional(rows, output) }
        .map { row -> [row[0], row[1..-1].flatten()] }
    outlines = units.map { unit, members -> [unit, members.collectMany { member -> member.outlines }] }
    designs = units.map { unit, members -> [unit, designOf(members.collect { member -> member.meta })] }
    assemble_input = [results, outlines, unit_summaries, designs, byUnit(units, MAP.out.csv)]
        .inject(unit_inputs) { rows, output -> rows.join(output, failOnDuplicate: true) }
    ASSEMBLE(assemble_input, code.map { c -> c.assemble ?: '' })

    // A page needs all results of its section. Units without ground truth do not wait for the scores of others.
    no_scores = units.filter { _unit, members -> !members.any { member -> member.truth } }.map { unit, _members -> [unit, []] }
    required_outputs = unit_summaries
        .join(ASSEMBLE.out.summary, failOnDuplicate: true)
        .join(byUnit(units, MAP.out.summary), failOnDuplicate: true)
    all_summaries = withOptional(required_outputs, EVALUATE.out.summary.mix(no_scores))
        .map { row -> [row[0], row[1..-1].flatten()] }
    page_input = [losses, ENHANCE.out.genes, ENHANCE.out.h5ad, EVALUATE.out.scores.mix(no_scores)]
        .inject(ASSEMBLE.out.h5ad.join(all_summaries, failOnDuplicate: true, failOnMismatch: true)) { rows, output -> withOptional(rows, output) }
    FIGURES(page_input.join(byUnit(units, tiles), failOnDuplicate: true), code.map { c -> "${c.page ?: ''}${c.figures ?: ''}".toString() })

    comparison = COMPARE.out.tables.map { files -> [[id: 'study'], files] }
    comparison_summary = COMPARE.out.summary.map { file -> [[id: 'study'], file] }

    versions = INGEST.out.versions.mix(
        QC.out.versions,
        FEATURES.out.versions,
        TRAIN.out.versions,
        DOMAINS.out.versions,
        MARKERS.out.versions,
        TRAJECTORY.out.versions,
        ENHANCE.out.versions,
        EVALUATE.out.versions,
        MAP.out.versions,
        COMPARE.out.versions,
        ASSEMBLE.out.versions,
        FIGURES.out.versions,
    )
    summaries = ingest_summaries.mix(
        qc_summaries,
        features_summaries,
        train_summaries,
        DOMAINS.out.summary,
        MARKERS.out.summary,
        TRAJECTORY.out.summary,
        ENHANCE.out.summary,
        EVALUATE.out.summary,
        MAP.out.summary,
        comparison_summary,
        ASSEMBLE.out.summary,
    )
    // Files of an earlier run stay where they are.
    files = under('ingest', INGEST.out.outlines.mix(INGEST.out.summary)).mix(
        under('qc', QC.out.h5ad.mix(QC.out.plot, QC.out.summary)),
        under('features', FEATURES.out.h5ad.mix(FEATURES.out.tiles, FEATURES.out.summary)),
        under('train', firstOf(TRAIN.out.embedding.mix(TRAIN.out.log, TRAIN.out.model, TRAIN.out.summary))),
        under('domains', DOMAINS.out.csv.mix(DOMAINS.out.h5ad, DOMAINS.out.summary)),
        under('markers', MARKERS.out.tables.mix(MARKERS.out.summary)),
        under('trajectory', TRAJECTORY.out.h5ad.mix(TRAJECTORY.out.trends, TRAJECTORY.out.summary)),
        under('enhance', ENHANCE.out.h5ad.mix(ENHANCE.out.genes, ENHANCE.out.summary)),
        under('evaluate', EVALUATE.out.scores.mix(EVALUATE.out.summary)),
        under('map', MAP.out.csv.mix(MAP.out.summary)),
        under('compare', comparison.mix(comparison_summary)),
        under('assemble', ASSEMBLE.out.h5ad.mix(ASSEMBLE.out.zarr, ASSEMBLE.out.csv, ASSEMBLE.out.geojson, ASSEMBLE.out.summary)),
        under('figures', FIGURES.out.figures.mix(FIGURES.out.summary)),
        under('report/sections', FIGURES.out.page),
    )

    emit:
    h5ad = ASSEMBLE.out.h5ad // [ unit, files ]
    csv = ASSEMBLE.out.csv // [ unit, files ]
    geojson = ASSEMBLE.out.geojson // [ unit, files ]
    embedding = embeddings // [ unit, file ]
    members = DOMAINS.out.h5ad // [ unit, file ]
    domains = DOMAINS.out.csv // [ unit, file ]
    enhanced = ENHANCE.out.h5ad // [ unit, file ]
    evidence = ENHANCE.out.genes // [ unit, file ]
    trajectory = TRAJECTORY.out.h5ad // [ unit, file ]
    markers = MARKERS.out.tables // [ unit, files ]
    scores = EVALUATE.out.scores // [ unit, file ]
    comparison = comparison // [ id: study, files ]
    training = losses // [ unit, file ]
    tiles = tiles // [ section, file ]
    summaries = summaries // [ section, unit or study, file ]
    figures = FIGURES.out.figures // [ unit, files ]
    pages = FIGURES.out.page // [ unit, files ]
    cards = FIGURES.out.card // [ unit, files ]
    units = units.map { unit, _members -> unit } // map: id and samples; spots and entries if the summaries have them
    files = files // [ folder, file ]: every published file
    versions = versions // file
}
