// Return the text of --help: all parameters of nextflow_schema.json that are not hidden, by group.
def helpText(java.nio.file.Path schema) {
    def root = new groovy.json.JsonSlurper().parseText(schema.text)
    def groups = root['$defs'].values().collect { group ->
        def shown = group.properties.findAll { _name, property -> !property.hidden }
        def lines = shown.collect { name, property ->
            def choices = property['enum'] ? " (${property['enum'].join(', ')})" : ''
            def preset = property['default'] == null ? '' : " [${property['default']}]"
            "  --${name.padRight(20)} ${property.type.toString().padRight(8)} ${property.description}${choices}${preset}"
        }
        lines ? ([group.title] + lines).join('\n') : null
    }
    def usage = 'nextflow run . -profile <docker,podman,singularity,local> --input samplesheet.csv --outdir results'
    return ([root.description, "Usage: ${usage}"] + groups.findAll { text -> text }).join('\n\n')
}
