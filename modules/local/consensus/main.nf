process CONSENSUS {
    tag "${meta.id}"
    label 'process_single'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    tuple val(meta), path(domains) // <unit>.domains.h5ad
    val code // fingerprint of the stage's code; it only has to be part of the task's hash

    output:
    tuple val(meta), path("${meta.id}.domains.csv"), emit: csv
    tuple val(meta), path("${meta.id}.consensus.json"), emit: summary
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    """
    export OMP_NUM_THREADS=${task.cpus}
    mmsrl-consensus --id ${meta.id} --domains ${domains} ${args}

    mmsrl-versions --process "${task.process}" anndata scikit-learn scipy > versions.yml
    """

    stub:
    """
    touch ${meta.id}.domains.csv ${meta.id}.consensus.json
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
