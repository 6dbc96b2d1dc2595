#!/usr/bin/env nextflow

// Somebody else's pipeline: a step of its own leaves what Space Ranger leaves, and mmsrl goes on from there.
// docs/embedding.md explains it; tests/pipeline/test_foreign.py runs it.

include { SPATIAL_DOMAINS } from '../../subworkflows/local/spatial_domains/main'

process SPACERANGER_COUNT {
    tag "${meta.id}"

    input:
    tuple val(meta), path(matrix), path(spatial)

    output:
    tuple val(meta), path("${meta.id}/outs/**"), emit: outs // file by file, as nf-core's module of this name does it

    script:
    """
    mkdir -p ${meta.id}/outs
    cp -L ${matrix} ${meta.id}/outs/filtered_feature_bc_matrix.h5
    cp -rL ${spatial} ${meta.id}/outs/spatial
    """
}

// What this pipeline does with domains: spots by domain.
process COUNT_SPOTS {
    tag "${meta.id}"

    input:
    tuple val(meta), path(domains)

    output:
    tuple val(meta), path("${meta.id}.spots.tsv"), emit: tsv

    script:
    """
    tail -n +2 ${domains} | cut -d , -f 3 | sort | uniq -c > ${meta.id}.spots.tsv
    """
}

workflow {
    main:
    SPACERANGER_COUNT(channel.of([[id: 'A1', patient: 'P7'], file("${params.data}/filtered_feature_bc_matrix.h5"), file("${params.data}/spatial")]))

    sections = SPACERANGER_COUNT.out.outs.map { meta, outs -> [meta + [n_domains: 3], outs, [], [], []] }
    SPATIAL_DOMAINS(sections, [], channel.value([]), channel.empty(), [], channel.empty(), channel.value([:]))

    COUNT_SPOTS(SPATIAL_DOMAINS.out.domains)
}
