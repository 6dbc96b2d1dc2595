process TRAIN {
    tag "${meta.seed == null ? meta.id : "${meta.id} seed ${meta.seed}"}"
    label 'process_high'
    // Networks need PyTorch, which only the CUDA image has. Without a network (ext.network = false) the CPU image is enough.
    container "mmsrl/mmsrl:0.1.0-${task.ext.network == false ? 'cpu' : 'cuda'}"

    input:
    tuple val(meta), path(counts), path(features) // by section: <sample>.qc.h5ad and <sample>.features.h5ad
    val code // fingerprint of the stage's code, as part of the task hash

    output:
    tuple val(meta), path("${prefix}.embedding.h5ad"), emit: embedding
    tuple val(meta), path("${prefix}.training.tsv"), emit: log
    tuple val(meta), path("${prefix}.model.npz"), emit: model
    tuple val(meta), path("${prefix}.train.json"), emit: summary
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    prefix = task.ext.prefix ?: "${meta.id}"
    // Overrides a --seed in ext.args: the last value of an option wins.
    def seed = meta.seed == null ? '' : "--seed ${meta.seed}"
    def sections = [counts].flatten().collect { file -> "--counts ${file}" } + [features].flatten().collect { file -> "--features ${file}" }
    """
    export OMP_NUM_THREADS=${task.cpus} NUMBA_NUM_THREADS=${task.cpus}
    mmsrl-train --id ${prefix} ${sections.join(' ')} ${args} ${seed}

    mmsrl-versions --process "${task.process}" anndata scanpy harmonypy --optional torch > versions.yml
    """

    stub:
    prefix = task.ext.prefix ?: "${meta.id}"
    """
    touch ${prefix}.embedding.h5ad ${prefix}.training.tsv ${prefix}.model.npz ${prefix}.train.json
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
