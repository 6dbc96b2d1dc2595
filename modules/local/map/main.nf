process MAP {
    tag "${meta.id}"
    label 'process_medium'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    // <sample>.qc.h5ad. Of the reference unit: its id, <unit>.model.npz, <unit>.domains.csv and <sample>.qc.h5ad of all its sections.
    tuple val(meta), path(counts, stageAs: 'section/*'), val(unit), path(model, stageAs: 'reference/train/*'), path(domains, stageAs: 'reference/domains/*'), path(reference_counts, stageAs: 'reference/qc/*')
    val code // fingerprint of the stage's code, as part of the task hash

    output:
    // No ext.prefix: other stages take the section from the names of these files.
    tuple val(meta), path("${meta.id}.map.csv"), emit: csv
    tuple val(meta), path("${meta.id}.map.json"), emit: summary
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    """
    export OMP_NUM_THREADS=${task.cpus}
    mmsrl-map --id ${meta.id} --counts ${counts} --reference reference --reference-unit '${unit}' ${args}

    mmsrl-versions --process "${task.process}" anndata scipy > versions.yml
    """

    stub:
    """
    touch ${meta.id}.map.csv ${meta.id}.map.json
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
