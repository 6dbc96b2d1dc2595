process CHECK {
    tag "${samplesheet.name}"
    label 'process_single'
    // The plan holds the fingerprints of the code in the container, which can change between runs.
    cache false
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    path samplesheet
    val params_json // all parameters of the run, as JSON text
    path params_schema, stageAs: 'schemas/*' // nextflow_schema.json
    path samplesheet_schema, stageAs: 'schemas/assets/*' // schema_input.json

    output:
    path 'plan.json', emit: plan
    path 'versions.yml', emit: versions, topic: versions

    script:
    """
    cat > params.json <<'END_PARAMS'
    ${params_json}
    END_PARAMS

    mmsrl-check --input ${samplesheet} --params params.json --schema-dir schemas --no-check-files --output plan.json

    mmsrl-versions --process "${task.process}" > versions.yml
    """

    // A stub run checks too: the check is fast, and later tasks need the plan.
    stub:
    """
    cat > params.json <<'END_PARAMS'
    ${params_json}
    END_PARAMS

    mmsrl-check --input ${samplesheet} --params params.json --schema-dir schemas --no-check-files --output plan.json

    mmsrl-versions --process "${task.process}" > versions.yml
    """
}
