process EVALUATE {
    tag "${meta.id}"
    label 'process_single'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    // <unit>.domains.csv, <unit>.embedding.h5ad, <unit>.trajectory.h5ad or []; sample names and, in the same order, their CSV files barcode,label
    tuple val(meta), path(domains), path(embedding), path(trajectory), val(samples), path(truths, stageAs: 'truth?/*')
    val code // fingerprint of the stage's code; it only has to be part of the task's hash

    output:
    tuple val(meta), path("${meta.id}.scores.csv"), emit: scores
    tuple val(meta), path("${meta.id}.evaluate.json"), emit: summary
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def labels = [samples, [truths].flatten()].transpose().collect { sample, file -> "--truth ${sample}=${file}" }
    def order = trajectory ? "--trajectory ${trajectory}" : ''
    """
    mmsrl-evaluate --id ${meta.id} --domains ${domains} --embedding ${embedding} ${order} ${labels.join(' ')} ${args}

    mmsrl-versions --process "${task.process}" anndata scikit-learn > versions.yml
    """

    stub:
    """
    touch ${meta.id}.scores.csv ${meta.id}.evaluate.json
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
