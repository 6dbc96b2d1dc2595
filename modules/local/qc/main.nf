process QC {
    tag "${meta.id}"
    label 'process_single'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    tuple val(meta), path(counts) // <id>.ingest.h5ad
    val code // fingerprint of the stage's code, as part of the task hash

    output:
    tuple val(meta), path("${prefix}.qc.h5ad"), emit: h5ad
    tuple val(meta), path("${prefix}.qc.json"), emit: summary
    tuple val(meta), path("${prefix}.qc.png"), emit: plot
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    export NUMBA_NUM_THREADS=${task.cpus}
    mmsrl-qc --id ${prefix} --counts ${counts} ${args}

    mmsrl-versions --process "${task.process}" anndata scanpy matplotlib > versions.yml
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}.qc.h5ad ${prefix}.qc.json ${prefix}.qc.png
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
