process INGEST {
    tag "${meta.id}"
    label 'process_single'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    // source: a folder of Space Ranger or of another instrument, an archive of it, .h5ad or .zarr; stated: map of the samplesheet's columns
    // about it, or [:]
    tuple val(meta), path(source, stageAs: 'source/*'), val(stated)
    val code // fingerprint of the stage's code and checksum of a folder's files, as part of the task hash

    output:
    // No ext.prefix: `meta.id` becomes the name of the section in all files.
    tuple val(meta), path("${meta.id}.ingest.h5ad"), emit: h5ad
    tuple val(meta), path('*.outlines.parquet', arity: '0..*'), emit: outlines // [] if the input has none
    tuple val(meta), path("${meta.id}.ingest.json"), emit: summary
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def column = source.name.endsWith('.h5ad') ? 'h5ad' : source.name.endsWith('.zarr') ? 'spatialdata' : 'spaceranger_dir'
    def options = stated.findAll { name, value -> value && name != 'column' }.collect { name, value -> "--${name.replace('_', '-')} ${value}" }.join(' ')
    """
    mmsrl-ingest --id ${meta.id} --${(stated.column ?: column).replace('_', '-')} ${source} ${options} ${args}

    mmsrl-versions --process "${task.process}" anndata scanpy h5py > versions.yml
    """

    stub:
    """
    touch ${meta.id}.ingest.h5ad ${meta.id}.ingest.json
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
