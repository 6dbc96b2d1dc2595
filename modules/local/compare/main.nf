process COMPARE {
    tag 'study'
    label 'process_single'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    path counts // <sample>.qc.h5ad of every section with a condition
    path domains // <unit>.domains.csv of the units of these sections
    val design_json // condition, donor and covariates of the sections, as JSON text; the condition of the first section is the control
    path gene_sets // GMT, or []
    val code // fingerprint of the stage's code, as part of the task hash

    output:
    path 'study.*.tsv', emit: tables
    path 'study.compare.json', emit: summary
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    def inputs = [counts: counts, domains: domains]
        .collectMany { option, files -> [files].flatten().collect { file -> "--${option} ${file}" } }
    def sets = gene_sets ? "--gene-sets ${gene_sets}" : ''
    """
    cat > design.json <<'END_DESIGN'
    ${design_json}
    END_DESIGN

    mmsrl-compare ${inputs.join(' ')} --design design.json ${sets} ${args}

    mmsrl-versions --process "${task.process}" anndata scipy statsmodels > versions.yml
    """

    stub:
    """
    touch study.composition.tsv study.expression.tsv study.shares.tsv study.compare.json
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
