process FEATURES {
    tag "${meta.id}"
    label 'process_medium'
    container 'docker.io/mmsrl/mmsrl:0.1.0-cuda'

    input:
    tuple val(meta), path(counts), path(image, stageAs: 'image/*') // <id>.qc.h5ad; full-resolution image, or []
    val code // fingerprint of the stage's code; it only has to be part of the task's hash

    output:
    tuple val(meta), path("${meta.id}.features.h5ad"), emit: h5ad
    tuple val(meta), path("${meta.id}.features.json"), emit: summary
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def slide = image ? "--image ${image}" : ''
    """
    export OMP_NUM_THREADS=${task.cpus}
    mmsrl-features --id ${meta.id} --counts ${counts} ${slide} ${args}

    mmsrl-versions --process "${task.process}" anndata torch efficientnet-lite-pytorch tifffile > versions.yml
    """

    stub:
    """
    touch ${meta.id}.features.h5ad ${meta.id}.features.json versions.yml
    """
}
