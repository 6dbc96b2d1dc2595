process DOMAINS {
    tag "${meta.id}"
    label 'process_low'
    container 'docker.io/mmsrl/mmsrl:0.1.0-cpu'

    input:
    tuple val(meta), path(embedding), val(n_domains) // <unit>.embedding.h5ad; [] where the number is to be found
    val code // fingerprint of the stage's code; it only has to be part of the task's hash

    output:
    tuple val(meta), path("${meta.id}.domains.csv"), emit: csv
    tuple val(meta), path("${meta.id}.domains.json"), emit: summary
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def k = n_domains ? "--n-domains ${n_domains}" : ''
    """
    export OMP_NUM_THREADS=${task.cpus}
    mmsrl-domains --id ${meta.id} --embedding ${embedding} ${k} ${args}

    mmsrl-versions --process "${task.process}" anndata scikit-learn igraph leidenalg > versions.yml
    """

    stub:
    """
    touch ${meta.id}.domains.csv ${meta.id}.domains.json versions.yml
    """
}
