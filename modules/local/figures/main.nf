process FIGURES {
    tag "${meta.id}"
    label 'process_single'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    tuple val(meta), path(assembled), path(trajectory) // <sample>.mmsrl.h5ad of the unit's sections; <unit>.trajectory.json or []
    val code // fingerprint of the stage's code; it only has to be part of the task's hash

    output:
    tuple val(meta), path('*.{png,pdf,svg}'), emit: figures
    tuple val(meta), path("${meta.id}.figures.json"), emit: summary
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def sections = [assembled].flatten().collect { file -> "--assembled ${file}" }.join(' ')
    def connections = trajectory ? "--trajectory ${trajectory}" : ''
    """
    mmsrl-figures --id ${meta.id} ${sections} ${connections} ${args}

    mmsrl-versions --process "${task.process}" anndata matplotlib > versions.yml
    """

    stub:
    """
    for assembled in ${assembled}; do
        sample=\${assembled%.mmsrl.h5ad}
        touch \$sample.domains.png \$sample.domains.pdf \$sample.domains.svg
    done
    touch ${meta.id}.figures.json
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
