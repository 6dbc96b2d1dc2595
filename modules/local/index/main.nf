process INDEX {
    label 'process_single'
    container 'mmsrl/mmsrl:0.1.0-cpu'

    input:
    val files_json // files (path in the results, bytes), units (id, samples) and samples (id, design), as JSON text; the files are not staged
    val code // fingerprint of the stage's code, as part of the task hash

    output:
    path 'index.json', emit: json
    path 'versions.yml', emit: versions, topic: versions

    when:
    task.ext.when == null || task.ext.when

    script:
    def args = task.ext.args ?: ''
    """
    cat > files.json <<'END_FILES'
    ${files_json}
    END_FILES

    mmsrl-index --files files.json ${args}

    mmsrl-versions --process "${task.process}" > versions.yml
    """

    stub:
    """
    touch index.json
    printf '"%s":\\n    mmsrl: stub\\n' '${task.process}' > versions.yml
    """
}
