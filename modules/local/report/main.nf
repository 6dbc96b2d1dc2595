process REPORT {
    label 'process_single'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    path cards // <sample>.card.json of all sections with a page, or []
    path summaries // JSON of all stages
    path versions, stageAs: 'versions/?.yml'
    path comparison // study.*.tsv with the comparison of conditions, or []
    val params_json // all parameters of the run, as JSON text
    val asked_json // requested samples and failed tasks, as JSON text; the report names missing samples
    val code // fingerprint of the stage's code, as part of the task hash

    output:
    path 'mmsrl_report.html', emit: html
    path 'assets/*.js', emit: assets
    path 'manifest.json', emit: manifest
    path '*_mqc{.json,_versions.yml}', emit: multiqc
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def inputs = [card: cards, summaries: summaries, versions: versions, comparison: comparison]
        .collectMany { option, files -> [files].flatten().collect { file -> "--${option} ${file}" } }
    """
    cat > params.json <<'END_PARAMS'
    ${params_json}
    END_PARAMS
    cat > asked.json <<'END_ASKED'
    ${asked_json}
    END_ASKED

    mmsrl-report ${inputs.join(' ')} --params params.json --asked asked.json ${args}

    mmsrl-versions --process "${task.process}" jinja2 plotly > versions.yml
    """

    stub:
    """
    mkdir assets
    touch mmsrl_report.html assets/plotly.min.js assets/sections.js manifest.json mmsrl_general_mqc.json mmsrl_mqc_versions.yml
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
