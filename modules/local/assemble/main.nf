process ASSEMBLE {
    tag "${meta.id}"
    label 'process_single'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    // By section: <sample>.qc.h5ad and <sample>.features.h5ad; <sample>.outlines.parquet and <sample>.map.csv of the sections that have
    // them, or []. By unit: embedding, domains, and trajectory and de-noised expression or []. summaries: JSON of all earlier stages.
    // design_json: condition, donor and covariates of the sections as JSON text, or ''.
    tuple val(meta), path(counts), path(features), path(embedding, stageAs: 'unit/*'), path(domains, stageAs: 'unit/*'), path(trajectory), path(enhanced), path(outlines), path(summaries), val(design_json), path(mapped)
    val code // fingerprint of the stage's code, as part of the task hash

    output:
    // No ext.prefix: files are named after the sections.
    tuple val(meta), path('*.mmsrl.h5ad'), emit: h5ad
    tuple val(meta), path('*.spatialdata.zarr'), emit: zarr, optional: true
    tuple val(meta), path('*.{spots.csv,coordinates.csv.gz,loupe.csv}'), emit: csv
    tuple val(meta), path('*.domains.geojson'), emit: geojson
    tuple val(meta), path("${meta.id}.assemble.json"), emit: summary
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def optional = [trajectory: trajectory, enhanced: enhanced].findAll { _option, file -> file }.collect { option, file -> "--${option} ${file}" }
    def sections = [counts: counts, features: features, outlines: outlines, mapped: mapped, summaries: summaries]
        .collectMany { option, files -> [files].flatten().collect { file -> "--${option} ${file}" } }
    def design = design_json ? '--design design.json' : ''
    """
    export NUMBA_NUM_THREADS=${task.cpus}
    cat > design.json <<'END_DESIGN'
    ${design_json}
    END_DESIGN
    mmsrl-assemble --id ${meta.id} ${sections.join(' ')} --embedding ${embedding} --domains ${domains} ${optional.join(' ')} ${design} ${args}

    mmsrl-versions --process "${task.process}" anndata > versions.yml
    """

    stub:
    """
    for counts in ${counts}; do
        sample=\${counts%.qc.h5ad}
        touch \$sample.mmsrl.h5ad \$sample.spots.csv \$sample.coordinates.csv.gz \$sample.loupe.csv \$sample.domains.geojson
    done
    touch ${meta.id}.mmsrl.h5ad ${meta.id}.assemble.json
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
