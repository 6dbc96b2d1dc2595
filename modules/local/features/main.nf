process FEATURES {
    tag "${meta.id}"
    label 'process_medium'
    // Networks need PyTorch, which only the CUDA image has. Without a network (ext.network = false) the CPU image is enough.
    container "mmsrl/mmsrl:0.1.0-${task.ext.network == false ? 'cpu' : 'cuda'}"

    input:
    // <id>.qc.h5ad; full-resolution image, or []; alignment of the coordinates to the image, or []
    tuple val(meta), path(counts), path(image, stageAs: 'image/*'), path(alignment, stageAs: 'alignment/*')
    path weights, stageAs: 'weights/*' // weights of the image network, or []
    val code // fingerprint of the stage's code, as part of the task hash

    output:
    // No ext.prefix: other stages take the section from the names of these files.
    tuple val(meta), path("${meta.id}.features.h5ad"), emit: h5ad
    tuple val(meta), path("${meta.id}.features.json"), emit: summary
    tuple val(meta), path("${meta.id}.tiles.tif"), emit: tiles, optional: true
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def optional = [image: image, alignment: alignment, 'backbone-weights': weights]
        .findAll { _option, file -> file }
        .collect { option, file -> "--${option} ${file}" }
        .join(' ')
    """
    export OMP_NUM_THREADS=${task.cpus}
    mmsrl-features --id ${meta.id} --counts ${counts} ${optional} ${args}

    mmsrl-versions --process "${task.process}" anndata tifffile scikit-image openslide-python pyvips --optional torch --optional efficientnet-lite-pytorch > versions.yml
    """

    stub:
    """
    touch ${meta.id}.features.h5ad ${meta.id}.features.json ${meta.id}.tiles.tif
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
