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

// The folder of a step that gives its files one by one, as nf-core's spaceranger/count does: the one of the topmost file.
def folderOf(source) {
    return source instanceof Collection ? source.min { file -> file.nameCount }.parent : source
}

// Names, sizes and times of the files in a folder and below, one line each. Links are followed, but no folder is entered twice, as
// some lead back; one to nothing has no size, and whether its file is needed is for ingest to say.
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
        // So it is with a folder that may not be read: what is seen beside it has to do.
        return ['not all of it']
    }
}

// The files of a folder as a checksum: of a folder itself Nextflow sees neither a change within one of its files nor one further
// down. Empty for a file.
def contentsOf(java.nio.file.Path source) {
    return source.isDirectory() ? filesBelow(source, source, [] as Set).sort().join('\n').md5() : ''
}

// What the first training of each unit left, which has no seed of its own.
def firstOf(channel) {
    return channel.filter { training, _file -> training.seed == null }
}

// Files of an earlier run that end so, as the process that made them emitted them.
def taken(earlier, String ending) {
    return earlier.filter { kind, _meta, _file -> kind == ending }.map { _kind, meta, file -> [meta, file] }
}

// The same of units, which are known by their sizes as well.
def takenOfUnits(units, earlier, String ending) {
    return units
        .map { unit, _members -> [unit.id, unit] }
        .join(taken(earlier, ending).map { meta, file -> [meta.id, file] })
        .map { _id, unit, file -> [unit, file] }
}

// Spots of the sections of a unit, and their counts other than 0, from the summaries of quality control: what its tasks ask for
// follows from them (conf/resources.config). Nothing where a summary does not tell.
def sizesOf(List summaries) {
    def results = summaries.collect { file -> file.size() ? new groovy.json.JsonSlurper().parse(file).result : [:] }
    return results.every { result -> result.n_entries } ? [spots: results.sum { result -> result.n_spots }, entries: results.sum { result -> result.n_entries }] : [:]
}

// Rows of a channel with what an optional stage made of the same unit; [] where it failed, was left out or made nothing.
def withOptional(channel, made) {
    return channel
        .join(made, remainder: true)
        .filter { row -> row[1] != null }
        .map { row -> row.collect { value -> value == null ? [] : value } }
}

// What a step made of single sections, by unit: [] where it made nothing of any.
def ofUnits(units, made) {
    return withOptional(units.flatMap { unit, members -> members.collect { member -> [member.meta.subMap('id'), unit] } }, made)
        .map { _section, unit, file -> [groupKey(unit, unit.samples.size()), file] }
        .groupTuple()
        .map { unit, files -> [unit.target, files.flatten().sort { file -> file.name }] }
}

// What the samplesheet says of the part that sections have in a study, as commands read it; '' where it says nothing.
def designOf(metas) {
    def known = metas.findAll { meta -> meta.design && (meta.design.condition || meta.design.donor || meta.design.covariates) }
    def samples = known.collect { meta -> [sample: meta.id, condition: meta.design.condition ?: null, donor: meta.design.donor ?: null, covariates: meta.design.covariates ?: [:]] }
    return samples ? groovy.json.JsonOutput.toJson([samples: samples]) : ''
}

// Every file of a channel of [ meta, file or files ] with the folder that it belongs to.
def under(String folder, channel) {
    return channel.flatMap { _meta, files -> [files].flatten().collect { file -> [folder, file] } }
}

// From tissue sections to spatial domains and all that is read from them. It knows no parameters: options reach the
// modules by ext.args. docs/embedding.md says how another pipeline includes it.
workflow SPATIAL_DOMAINS {
    take:
    // [ meta, source, image, alignment, truth ] for each section. meta: id; optional: group (sections with the same group are
    // trained together), group_size (lets a group start as soon as it is complete), n_domains, stated (map with column,
    // bin_size, platform, pitch_um, um_per_px and expression, as the samplesheet has them), design (map with condition, donor
    // and covariates, a map of name to value; sections with conditions are compared) and after (qc or train: the last stage whose
    // files are taken from `earlier`). source: a folder of Space Ranger or another instrument, all files in it, an archive of it,
    // .h5ad or .zarr, or [] where it is not read; image, alignment and truth: file or [].
    sections
    weights // file: of the network that describes images, or []
    gene_sets // value channel: GMT file to compare markers with, or []
    reference // value channel: [ unit, model, domains, counts ] of a unit to map all sections onto; empty where there is none
    more_seeds // list of integers: of further trainings of each unit, whose embeddings domains are read from as well; or []
    // [ ending, meta, file ] of every file of an earlier run that is taken: qc.h5ad, ingest.json, qc.json and outlines.parquet ([] where
    // there is none) of each section and, after training, features.h5ad, features.json and, where there is one, tiles.tif; meta: id. Of
    // each unit, after training: embedding.h5ad, training.tsv, model.npz and train.json; meta: id and samples, sorted ids of its sections.
    earlier
    code // value channel: map of stage to fingerprint of its code; [:] where the container's version tells

    main:
    // Of what is said of a section its tasks know the id alone: on -resume nothing else can make them run again.
    read = sections.filter { meta, _source, _image, _alignment, _truth -> !meta.after }
    given = read.combine(code).multiMap { meta, source, _image, _alignment, _truth, c ->
        section: [meta.subMap('id'), folderOf(source), meta.stated ?: [:]]
        hash: "${c.ingest ?: ''} ${contentsOf(folderOf(source))}".toString()
    }
    INGEST(given.section, given.hash)

    QC(INGEST.out.h5ad, code.map { c -> c.qc ?: '' })
    passed = QC.out.h5ad.mix(taken(earlier, 'qc.h5ad'))

    MAP(passed.combine(reference), code.map { c -> c.map ?: '' })

    images = sections
        .filter { meta, _source, _image, _alignment, _truth -> meta.after != 'train' }
        .map { meta, _source, image, alignment, _truth -> [meta.subMap('id'), image, alignment] }
    FEATURES(passed.join(images), weights, code.map { c -> c.features ?: '' })
    tiles = FEATURES.out.tiles.mix(taken(earlier, 'tiles.tif'))
    ingested = INGEST.out.summary.mix(taken(earlier, 'ingest.json'))
    checked = QC.out.summary.mix(taken(earlier, 'qc.json'))
    described = FEATURES.out.summary.mix(taken(earlier, 'features.json'))

    // A unit is what is trained together. Its sections are sorted, so that the order in which they arrive changes nothing.
    about = sections.map { meta, _source, _image, _alignment, truth -> [meta.subMap('id'), meta, truth] }
    units = passed
        .join(FEATURES.out.h5ad.mix(taken(earlier, 'features.h5ad')))
        .join(about)
        .join(INGEST.out.outlines.mix(taken(earlier, 'outlines.parquet')))
        .join(ingested)
        .join(checked)
        .join(described)
        .map { _id, counts, features, meta, truth, outlines, ingest, qc, image ->
            def unit = meta.group ?: meta.id
            def size = meta.group ? meta.group_size : 1
            [size ? groupKey(unit, size) : unit, [meta: meta, counts: counts, features: features, truth: truth, outlines: [outlines].flatten(), summaries: [ingest, qc, image]]]
        }
        .groupTuple()
        .map { unit, members ->
            def sorted = members.sort { member -> member.meta.id }
            [[id: unit.toString(), samples: sorted.collect { member -> member.meta.id }] + sizesOf(sorted.collect { member -> member.summaries[1] }), sorted]
        }
    sources = units.map { unit, members -> [unit, members.collect { member -> member.counts }, members.collect { member -> member.features }] }

    trainings = units
        .filter { _unit, members -> members.first().meta.after != 'train' }
        .join(sources)
        .flatMap { unit, _members, counts, features ->
            ([unit] + more_seeds.collect { seed -> unit + [seed: seed] }).collect { training -> [training, counts, features] }
        }
    TRAIN(trainings, code.map { c -> c.train ?: '' })
    trained = firstOf(TRAIN.out.summary).mix(takenOfUnits(units, earlier, 'train.json'))
    losses = firstOf(TRAIN.out.log).mix(takenOfUnits(units, earlier, 'training.tsv'))

    all_embeddings = TRAIN.out.embedding.mix(takenOfUnits(units, earlier, 'embedding.h5ad'))
    ensembles = all_embeddings
        .map { training, embedding -> [training.findAll { key, _value -> key != 'seed' }, [training.seed, embedding]] }
        .groupTuple(size: 1 + more_seeds.size())
        .map { unit, found -> [unit, found.sort { training -> training.first() }.collect { training -> training.last() }] }
    embeddings = firstOf(all_embeddings)

    n_domains = units.map { unit, members -> [unit, members.first().meta.n_domains ?: []] }
    DOMAINS(ensembles.join(n_domains), code.map { c -> c.domains ?: '' })

    tissue = units.map { unit, members -> [unit, members.collect { member -> member.counts }] }
    configured = DOMAINS.out.csv.join(trained).join(DOMAINS.out.summary)
    MARKERS(sources.join(configured), gene_sets, code.map { c -> c.markers ?: '' })

    TRAJECTORY(tissue.join(embeddings).join(DOMAINS.out.csv), code.map { c -> c.trajectory ?: '' })

    ENHANCE(sources.join(embeddings).join(firstOf(TRAIN.out.model).mix(takenOfUnits(units, earlier, 'model.npz'))), code.map { c -> c.enhance ?: '' })

    labelled = units
        .map { unit, members -> [unit, members.findAll { member -> member.truth }] }
        .filter { _unit, members -> members }
        .map { unit, members -> [unit, members.collect { member -> member.meta.id }, members.collect { member -> member.truth }] }
    EVALUATE(withOptional(DOMAINS.out.csv.join(embeddings), TRAJECTORY.out.h5ad).join(labelled), code.map { c -> c.evaluate ?: '' })

    // Conditions are compared once, over all sections that have one. Of the design only this and the final files know.
    compared = units
        .join(DOMAINS.out.csv)
        .map { _unit, members, domains -> [members.findAll { member -> member.meta.design?.condition }.collect { member -> member.counts }, domains] }
        .filter { counts, _domains -> counts }
    study = sections.map { meta, _source, _image, _alignment, _truth -> meta }.filter { meta -> meta.design?.condition }.toList()
    COMPARE(
        compared.flatMap { counts, _domains -> counts }.toSortedList { file -> file.name }.filter { files -> files },
        compared.map { _counts, domains -> domains }.toSortedList { file -> file.name }.filter { files -> files },
        study.filter { metas -> metas }.map { metas -> designOf(metas) },
        gene_sets,
        code.map { c -> c.compare ?: '' },
    )

    // No optional stage costs a unit its domains.
    results = withOptional(withOptional(embeddings.join(DOMAINS.out.csv), TRAJECTORY.out.h5ad), ENHANCE.out.h5ad)
    told = units
        .map { unit, members -> [unit, members.collectMany { member -> member.summaries }] }
        .join(trained)
        .join(DOMAINS.out.summary)
    so_far = withOptional(withOptional(withOptional(told, MARKERS.out.summary), TRAJECTORY.out.summary), ENHANCE.out.summary)
        .map { row -> [row[0], row[1..-1].flatten()] }
    outlines = units.map { unit, members -> [unit, members.collectMany { member -> member.outlines }] }
    designs = units.map { unit, members -> [unit, designOf(members.collect { member -> member.meta })] }
    ASSEMBLE(sources.join(results).join(outlines).join(so_far).join(designs).join(ofUnits(units, MAP.out.csv)), code.map { c -> c.assemble ?: '' })

    // A page has everything about its section. Units without labels do not wait for the scores of others.
    unlabelled = units.filter { _unit, members -> !members.any { member -> member.truth } }.map { unit, _members -> [unit, []] }
    all_told = withOptional(so_far.join(ASSEMBLE.out.summary).join(ofUnits(units, MAP.out.summary)), EVALUATE.out.summary.mix(unlabelled))
        .map { row -> [row[0], row[1..-1].flatten()] }
    shown = [losses, ENHANCE.out.genes, ENHANCE.out.h5ad, EVALUATE.out.scores.mix(unlabelled)]
        .inject(ASSEMBLE.out.h5ad.join(all_told)) { rows, made -> withOptional(rows, made) }
    FIGURES(shown.join(ofUnits(units, tiles)), code.map { c -> "${c.page ?: ''}${c.figures ?: ''}".toString() })

    comparison = COMPARE.out.tables.map { files -> [[id: 'study'], files] }
    compared_as = COMPARE.out.summary.map { file -> [[id: 'study'], file] }

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
    summaries = ingested.mix(
        checked,
        described,
        trained,
        DOMAINS.out.summary,
        MARKERS.out.summary,
        TRAJECTORY.out.summary,
        ENHANCE.out.summary,
        EVALUATE.out.summary,
        MAP.out.summary,
        compared_as,
        ASSEMBLE.out.summary,
    )
    // What was taken from an earlier run stays there.
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
        under('compare', comparison.mix(compared_as)),
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
    units = units.map { unit, _members -> unit } // map: id, samples and, where summaries tell, spots and entries; a section: id
    files = files // [ folder, file ]: all that is worth keeping
    versions = versions // file
}
