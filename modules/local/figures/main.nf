process FIGURES {
    tag "${meta.id}"
    label 'process_single'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    // of every section of the unit: <sample>.mmsrl.h5ad, and <sample>.tiles.tif of those that have pictures; of the unit: JSON of its
    // steps, and <unit>.training.tsv, <unit>.enhanced_genes.tsv, <unit>.enhanced.h5ad and <unit>.scores.csv, each or []
    tuple val(meta), path(assembled), path(summaries), path(training), path(evidence), path(enhanced), path(scores), path(tiles)
    val code // fingerprint of the step's code; it only has to be part of the task's hash

    output:
    tuple val(meta), path('*.html'), emit: page, optional: true // not with ext.page = false
    tuple val(meta), path('*.card.json'), emit: card, optional: true
    tuple val(meta), path('*.{png,pdf}'), emit: figures, optional: true // not with ext.figures = false
    tuple val(meta), path("${meta.id}.figures.json"), emit: summary, optional: true
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def page_args = task.ext.page_args ?: ''
    def sections = [assembled].flatten().collect { file -> "--assembled ${file}" }.join(' ')
    def found = [summaries: summaries, training: training, evidence: evidence, enhanced: enhanced, scores: scores, tiles: tiles]
        .collectMany { option, files -> [files].flatten().collect { file -> "--${option} ${file}" } }
        .join(' ')
    def connections = [summaries].flatten().findAll { file -> file.name == "${meta.id}.trajectory.json" }.collect { file -> "--trajectory ${file}" }.join(' ')
    """
    if ${task.ext.page != false}; then
        mmsrl-page --id ${meta.id} ${sections} ${found} ${page_args}
    fi
    if ${task.ext.figures != false}; then
        mmsrl-figures --id ${meta.id} ${sections} ${connections} ${args}
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
