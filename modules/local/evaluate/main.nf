process EVALUATE {
    tag "${meta.id}"
    label 'process_single'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    // <unit>.domains.csv, <unit>.embedding.h5ad, <unit>.trajectory.h5ad or []; ids of the sections with ground truth and, in the same
    // order, their CSV files with the columns barcode and label
    tuple val(meta), path(domains), path(embedding), path(trajectory), val(samples), path(truths, stageAs: 'truth?/*')
    val code // fingerprint of the stage's code, as part of the task hash

    output:
    tuple val(meta), path("${prefix}.scores.csv"), emit: scores
    tuple val(meta), path("${prefix}.evaluate.json"), emit: summary
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    def labels = [samples, [truths].flatten()].transpose().collect { sample, file -> "--truth ${sample}=${file}" }
    def pseudotime = trajectory ? "--trajectory ${trajectory}" : ''
    """
    mmsrl-evaluate --id ${prefix} --domains ${domains} --embedding ${embedding} ${pseudotime} ${labels.join(' ')} ${args}

    mmsrl-versions --process "${task.process}" anndata scikit-learn > versions.yml
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}.scores.csv ${prefix}.evaluate.json
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
