/*
 * Builds the pipeline's configuration for many profiles in one start of the engine, with the engine's own classes, and
 * resolves what a task of a process gets of it.
 *
 * Arguments: the project's folder; a JSON list of {profile, params, process, label, meta, files: name to bytes, attempt,
 * exit: of the attempt before}. Prints a JSON list with an answer each, after the line "RESULT".
 */
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import java.nio.file.Paths
import nextflow.cli.CliOptions
import nextflow.cli.CmdRun
import nextflow.config.ConfigBuilder
import nextflow.processor.TaskConfig
import nextflow.script.ProcessConfig
import nextflow.trace.TraceRecord

ENGINES = ['docker', 'podman', 'singularity', 'apptainer', 'charliecloud']

def configOf(root, profile, params) {
    def command = new CmdRun(profile: profile, params: params)
    return new ConfigBuilder().setOptions(new CliOptions()).setBaseDir(root).setCmdRun(command).build()
}

def answer(config, asked) {
    def engine = ENGINES.find { name -> config.navigate("${name}.enabled") }
    def process = new ProcessConfig([:])
    process.label(asked.label)
    process.applyConfig(config.process, asked.process, asked.process, "MMSRL:SPATIAL_DOMAINS:${asked.process}")
    def task = process.createTaskConfig()
    def previous = asked.attempt > 1 ? new TraceRecord([exit: asked.exit]) : null
    task.put('attempt', asked.attempt)
    task.put('previousTrace', previous)
    task.put('exitStatus', asked.exit)
    def files = asked.files.collectEntries { name, bytes -> [name, new Expando(name: "${name}${asked.ending}", size: { bytes })] }
    task.setContext([task: task, params: config.params, workflow: [containerEngine: engine], meta: asked.meta] + files)
    return [
        process: [
            executor: config.process.executor,
            conda: config.process.conda?.toString(),
            arch: config.process.arch,
            pod: config.process.pod,
            resourceLimits: config.process.resourceLimits?.collectEntries { name, value -> [name, value.toString()] },
        ],
        engine: engine,
        config: config.subMap(ENGINES + ['aws', 'google', 'azure', 'conda', 'params', 'executor', 'dumpHashes', 'env']),
        task: [
            cpus: task.getCpus(),
            memory_gb: task.getMemory()?.toGiga(),
            time_h: task.getTime()?.toHours(),
            queue: task.queue?.toString(),
            accelerator: task.getAccelerator() ? [request: task.getAccelerator().request, type: task.getAccelerator().type] : null,
            containerOptions: task.getContainerOptions()?.toString(),
            clusterOptions: task.clusterOptions?.toString(),
            machineType: task.getMachineType(),
            errorStrategy: task.getErrorStrategy().toString(),
            maxRetries: task.getMaxRetries(),
            tries: task.ext.tries,
            device: task.ext.device,
            block_size: task.ext.block_size,
            network: task.ext.network,
            when: task.ext.when,
            page: task.ext.page,
            figures: task.ext.figures,
        ],
    ]
}

def root = Paths.get(args[0])
def configs = [:].withDefault { asked -> configOf(root, asked.profile, asked.params) }
def answers = new JsonSlurper().parseText(args[1]).collect { asked ->
    try { answer(configs[asked.subMap(['profile', 'params'])], asked) }
    catch (Exception error) { [error: error.toString()] }
}
println('RESULT')
println(JsonOutput.toJson(answers))
