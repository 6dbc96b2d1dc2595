process REPORT {
    label 'process_single'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    path assembled // <sample>.mmsrl.h5ad of all samples
    path summaries // JSON of all stages
    path training // <unit>.training.tsv of all units
    path evidence // <unit>.enhanced_genes.tsv of all units
    path enhanced // <unit>.enhanced.h5ad of all units
    path scores // <unit>.scores.csv of the units that have labels, or []
    path versions, stageAs: 'versions/?.yml'
    path tiles // <sample>.tiles.tif of the sections that have pictures, or []
    path comparison // study.*.tsv of the conditions that were compared, or []
    val params_json // text: all parameters of the run
    val asked_json // text: samples asked for, and tasks that failed; the report names those that are missing
    val code // fingerprint of the stage's code; it only has to be part of the task's hash

    output:
    path 'mmsrl_report.html', emit: html
    path 'manifest.json', emit: manifest
    path '*_mqc{.json,_versions.yml}', emit: multiqc
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def inputs = [assembled: assembled, summaries: summaries, training: training, evidence: evidence, enhanced: enhanced, scores: scores, versions: versions, tiles: tiles, comparison: comparison]
        .collectMany { option, files -> [files].flatten().collect { file -> "--${option} ${file}" } }
    """
    cat > params.json <<'END_PARAMS'
    ${params_json}
    END_PARAMS
    cat > asked.json <<'END_ASKED'
    ${asked_json}
    END_ASKED

    mmsrl-report ${inputs.join(' ')} --params params.json --asked asked.json ${args}

    mmsrl-versions --process "${task.process}" anndata jinja2 plotly > versions.yml
    """

    stub:
    """
    touch mmsrl_report.html manifest.json mmsrl_general_mqc.json mmsrl_mqc_versions.yml
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
