process CHECK {
    tag "${samplesheet.name}"
    label 'process_single'
    // The fingerprints in the plan are those of the code in the container, so they are asked for in every run.
    cache false
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    path samplesheet
    val params_json // text: all parameters of the run
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

    // The same as in a real run: it costs nothing, and what comes after needs the plan.
    stub:
    """
    cat > params.json <<'END_PARAMS'
    ${params_json}
    END_PARAMS

    mmsrl-check --input ${samplesheet} --params params.json --schema-dir schemas --no-check-files --output plan.json

    mmsrl-versions --process "${task.process}" > versions.yml
    """
}
