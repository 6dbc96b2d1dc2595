process FIGURES {
    tag "${meta.id}"
    label 'process_single'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    // By section: <sample>.mmsrl.h5ad, and <sample>.tiles.tif of the sections that have image tiles. By unit: summaries of all stages, and
    // <unit>.training.tsv, <unit>.enhanced_genes.tsv, <unit>.enhanced.h5ad and <unit>.scores.csv, each or [].
    tuple val(meta), path(assembled), path(summaries), path(training), path(evidence), path(enhanced), path(scores), path(tiles)
    val code // fingerprint of the stage's code, as part of the task hash

    output:
    // No ext.prefix: files are named after the sections.
    tuple val(meta), path('*.html'), emit: page, optional: true // ext.page = false skips the pages
    tuple val(meta), path('*.card.json'), emit: card, optional: true
    tuple val(meta), path('*.{png,pdf}'), emit: figures, optional: true // ext.figures = false skips the figures
    tuple val(meta), path("${meta.id}.figures.json"), emit: summary, optional: true
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def args2 = task.ext.args2 ?: ''
    def sections = [assembled].flatten().collect { file -> "--assembled ${file}" }.join(' ')
    def outputs = [summaries: summaries, training: training, evidence: evidence, enhanced: enhanced, scores: scores, tiles: tiles]
        .collectMany { option, files -> [files].flatten().collect { file -> "--${option} ${file}" } }
        .join(' ')
    def trajectory = [summaries].flatten().findAll { file -> file.name.endsWith('.trajectory.json') }.collect { file -> "--trajectory ${file}" }.join(' ')
    """
    if ${task.ext.page != false}; then
        mmsrl-page --id ${meta.id} ${sections} ${outputs} ${args}
    fi
    if ${task.ext.figures != false}; then
        mmsrl-figures --id ${meta.id} ${sections} ${trajectory} ${args2}
    fi

    mmsrl-versions --process "${task.process}" anndata jinja2 matplotlib plotly > versions.yml
    """

    stub:
    """
    for assembled in ${assembled}; do
        sample=\${assembled%.mmsrl.h5ad}
        if ${task.ext.page != false}; then
            touch \$sample.html \$sample.card.json
        fi
        if ${task.ext.figures != false}; then
            touch \$sample.domains.png \$sample.domains.pdf ${meta.id}.figures.json
        fi
    done
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
