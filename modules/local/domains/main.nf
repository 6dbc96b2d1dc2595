process DOMAINS {
    tag "${meta.id}"
    label 'process_low'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    // embeddings: <unit>.embedding.h5ad of each training, in the order of their seeds; n_domains: integer, or [] to choose it from the data
    tuple val(meta), path(embeddings, stageAs: 'training?/*'), val(n_domains)
    val code // fingerprint of the stage's code, as part of the task hash

    output:
    tuple val(meta), path("${prefix}.domains.csv"), emit: csv
    tuple val(meta), path("${prefix}.domains.h5ad"), emit: h5ad
    tuple val(meta), path("${prefix}.domains.json"), emit: summary
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    def trainings = [embeddings].flatten().collect { file -> "--embedding ${file}" }
    def k = n_domains ? "--n-domains ${n_domains}" : ''
    """
    export OMP_NUM_THREADS=1
    mmsrl-domains --id ${prefix} ${trainings.join(' ')} ${k} --threads ${task.cpus} ${args}

    mmsrl-versions --process "${task.process}" anndata scikit-learn scipy igraph > versions.yml
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}.domains.csv ${prefix}.domains.h5ad ${prefix}.domains.json
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
