process INGEST {
    tag "${meta.id}"
    label 'process_single'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    tuple val(meta), path(source, stageAs: 'source/*'), val(bin_size), val(platform), val(pitch_um), val(um_per_px) // source: Space Ranger outs, a tar of it, .h5ad or .zarr; the values: [] where not given
    val code // fingerprint of the stage's code and of the files in a folder; it only has to be part of the task's hash

    output:
    tuple val(meta), path("${meta.id}.ingest.h5ad"), emit: h5ad
    tuple val(meta), path("${meta.id}.ingest.json"), emit: summary
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def from = source.name.endsWith('.h5ad') ? '--h5ad' : source.name.endsWith('.zarr') ? '--spatialdata' : '--spaceranger-dir'
    def given = ['bin-size': bin_size, platform: platform, 'pitch-um': pitch_um, 'um-per-px': um_per_px]
    def stated = given.findAll { _name, value -> value }.collect { name, value -> "--${name} ${value}" }.join(' ')
    """
    mmsrl-ingest --id ${meta.id} ${from} ${source} ${stated} ${args}

    mmsrl-versions --process "${task.process}" anndata scanpy h5py > versions.yml
    """

    stub:
    """
    touch ${meta.id}.ingest.h5ad ${meta.id}.ingest.json
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
