process MARKERS {
    tag "${meta.id}"
    label 'process_medium'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    // By section: <sample>.qc.h5ad and <sample>.features.h5ad. By unit: <unit>.domains.csv, <unit>.train.json and <unit>.domains.json.
    tuple val(meta), path(counts), path(features), path(domains), path(trained), path(read_out)
    path gene_sets // GMT, or []
    val code // fingerprint of the stage's code, as part of the task hash

    output:
    tuple val(meta), path("${prefix}.*.tsv"), emit: tables
    tuple val(meta), path("${prefix}.markers.json"), emit: summary
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    def sections = [counts: counts, features: features]
        .collectMany { option, files -> [files].flatten().collect { file -> "--${option} ${file}" } }
    def settings = "--domains ${domains} --trained ${trained} --read-out ${read_out}"
    def sets = gene_sets ? "--gene-sets ${gene_sets}" : ''
    """
    export OMP_NUM_THREADS=${task.cpus} NUMBA_NUM_THREADS=${task.cpus}
    mmsrl-markers --id ${prefix} ${sections.join(' ')} ${settings} ${sets} --threads ${task.cpus} ${args}

    mmsrl-versions --process "${task.process}" anndata scikit-learn scipy statsmodels > versions.yml
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}.markers.tsv ${prefix}.spatial_genes.tsv ${prefix}.neighbours.tsv ${prefix}.markers.json
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
