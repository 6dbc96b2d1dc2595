process TRAJECTORY {
    tag "${meta.id}"
    label 'process_single'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    // By section: <sample>.qc.h5ad. By unit: <unit>.embedding.h5ad and <unit>.domains.csv.
    tuple val(meta), path(counts), path(embedding), path(domains)
    val code // fingerprint of the stage's code, as part of the task hash

    output:
    tuple val(meta), path("${prefix}.trajectory.h5ad"), emit: h5ad
    tuple val(meta), path("${prefix}.trends.tsv"), emit: trends
    tuple val(meta), path("${prefix}.trajectory.json"), emit: summary
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    def sections = [counts].flatten().collect { file -> "--counts ${file}" }
    """
    export OMP_NUM_THREADS=${task.cpus} NUMBA_NUM_THREADS=${task.cpus}
    mmsrl-trajectory --id ${prefix} ${sections.join(' ')} --embedding ${embedding} --domains ${domains} ${args}

    mmsrl-versions --process "${task.process}" anndata scanpy scipy umap-learn > versions.yml
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}.trajectory.h5ad ${prefix}.trends.tsv ${prefix}.trajectory.json
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
