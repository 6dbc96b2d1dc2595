process ENHANCE {
    tag "${meta.id}"
    label 'process_medium'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    // By section: <sample>.qc.h5ad and <sample>.features.h5ad. By unit: <unit>.embedding.h5ad and <unit>.model.npz.
    tuple val(meta), path(counts), path(features), path(embedding), path(model)
    val code // fingerprint of the stage's code, as part of the task hash

    output:
    tuple val(meta), path("${prefix}.enhanced.h5ad"), emit: h5ad, optional: true // needs raw counts
    tuple val(meta), path("${prefix}.enhanced_genes.tsv"), emit: genes, optional: true
    tuple val(meta), path("${prefix}.enhance.json"), emit: summary
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    def sections = [counts: counts, features: features]
        .collectMany { option, files -> [files].flatten().collect { file -> "--${option} ${file}" } }
    """
    export OMP_NUM_THREADS=${task.cpus}
    mmsrl-enhance --id ${prefix} ${sections.join(' ')} --embedding ${embedding} --model ${model} ${args}

    mmsrl-versions --process "${task.process}" anndata scipy > versions.yml
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}.enhanced.h5ad ${prefix}.enhanced_genes.tsv ${prefix}.enhance.json
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
