/*
 * Runs nf-test suites (*.nf.test) where nf-test is not installed. It knows the part of nf-test's language that the
 * suites of this project use, with the same meaning. Any other word fails the test with an error that names the word.
 *
 * Arguments: the command that starts Nextflow, as a JSON list; then suite files and folders to look for them in.
 */
import groovy.io.FileType
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import java.nio.file.FileSystems
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.Paths
import java.util.concurrent.CompletableFuture
import java.util.concurrent.ConcurrentLinkedDeque
import org.codehaus.groovy.control.CompilerConfiguration
import org.codehaus.groovy.control.customizers.ImportCustomizer

/** What a suite may call from anywhere; imported statically into every suite. */
class Helpers {
    static Path path(CharSequence name) { Paths.get(name.toString()) }
    static Suite nextflow_process(Closure body) { new Suite(kind: 'process').with(body) }
    static Suite nextflow_workflow(Closure body) { new Suite(kind: 'workflow').with(body) }
    static Suite nextflow_pipeline(Closure body) { new Suite(kind: 'pipeline').with(body) }

    static void with(Object subject, Closure body) {
        body.resolveStrategy = Closure.DELEGATE_FIRST
        body.delegate = subject
        body()
    }
}

/** Methods that nf-test adds to java.nio.file.Path. */
class PathMethods {
    static boolean exists(Path self) { Files.exists(self) }
    static Path[] list(Path self) { self.toFile().listFiles().sort()*.toPath() as Path[] }
    static Object getJson(Path self) { new JsonSlurper().parse(self.toFile()) }
}

/** A node of the language whose words with one argument are remembered: `script "../main.nf"`. */
class Settings {
    Map values = [:]
    def with(Closure body) {
        body.resolveStrategy = Closure.DELEGATE_ONLY
        body.delegate = this
        body()
        this
    }
    void name(String text) { values.name = text }
    void script(String text) { values.script = text }
    void process(String text) { values.target = text }
    void workflow(String text) { values.target = text }
    void config(String text) { values.config = text }
    void options(String text) { values.options = text }
    void tag(String text) { }
    void setup(Closure body) { values.setup = body }
}

class Suite extends Settings {
    String kind
    List<Test> tests = []
    void test(String name, Closure body) { tests << new Test(title: name).with(body) }
}

class Test extends Settings {
    String title
    void when(Closure body) { values.when = body }
    void then(Closure body) { values.then = body }
}

/** A process that runs before the process under test: `run("INGEST") { script …; process { … } }`. */
class Dependency {
    String name, source, mapping = ''
    void script(String text) { source = text }
    void process(Closure body) { mapping = body().toString() }
}

/** The output channels by name and by position, each a list of what it emitted, in an order that does not change. */
class Channels extends TreeMap<String, Object> {
    Object get(Object key) { super.get(key.toString()) }

    static Object sorted(Object value) {
        if (value instanceof Map) return new TreeMap(value.collectEntries { k, v -> [k, sorted(v)] })
        value instanceof List ? value.collect { sorted(it) } : value
    }

    static int order(Object a, Object b) {
        if (a instanceof List && b instanceof List)
            return [a, b].transpose().findResult { x, y -> order(x, y) ?: null } ?: a.size() <=> b.size()
        if (a instanceof Number && b instanceof Number) return a <=> b
        if ([a, b].every { it instanceof String && it.startsWith('/') && new File(it).isFile() })
            return new File(a).name <=> new File(b).name ?: new File(a).bytes.md5() <=> new File(b).bytes.md5()
        a.toString() <=> b.toString()
    }
}

class Trace {
    List<Map> tasks = []
    List<Map> tasks() { tasks }
    List<Map> failed() { tasks.findAll { !it.success } }
    int getTasksCount() { tasks.size() }
}

/** `process` and `workflow` of a then block. */
class Run {
    boolean success, failed
    int exitStatus
    String errorReport
    List<String> stdout, stderr
    Trace trace
    Channels channels = new Channels()
    Channels getOut() {
        if (!channels) throw new IllegalStateException('there are no output channels')
        channels
    }
}

/** Delegate of the setup, when and then blocks: folders, params and the result of the run. */
class Context {
    String projectDir, outputDir
    Map params = [:]
    String mapping = ''
    List<Dependency> dependencies = []
    Run result = new Run()
    Closure paramsBody, mappingBody

    Run getProcess() { result }
    Run getWorkflow() { result }
    void params(Closure body) { paramsBody = body }
    void process(Closure body) { mappingBody = body }
    void workflow(Closure body) { mappingBody = body }
    void run(String name, Closure body) {
        def dependency = new Dependency(name: name)
        body.resolveStrategy = Closure.DELEGATE_FIRST
        body.delegate = dependency
        body()
        dependencies << dependency
    }

    void evaluate(Closure body) {
        if (!body) return
        body.resolveStrategy = Closure.DELEGATE_FIRST
        body.delegate = this
        body()
    }

    void prepare(List<Closure> bodies) {
        bodies.each { evaluate(it) }
        // In `params { outdir = outputDir }` the right side is ours and the left side a new parameter.
        if (paramsBody) paramsBody.rehydrate(params, this, this).call()
        if (mappingBody) {
            mappingBody.resolveStrategy = Closure.DELEGATE_FIRST
            mappingBody.delegate = this
            mapping = mappingBody().toString()
        }
    }
}

/** Takes the words of nf-test.config into a map. */
class Words {
    Map values
    def methodMissing(String name, Object arguments) {
        values[name] = name in ['ignore', 'triggers'] ? arguments.flatten() : arguments[0]
    }
}

/** Result of a test. */
class Outcome {
    boolean passed
    String text
}

/** A test that waits for a launch folder. */
class Job {
    boolean hasSetup
    Closure<Outcome> body
    CompletableFuture<Outcome> outcome = new CompletableFuture<>()

    void run(File launchFolder) {
        try {
            outcome.complete(body(launchFolder))
        } catch (Throwable failure) {
            outcome.completeExceptionally(failure)
        }
    }
}

/** Runs suites from the project's root, as `nf-test test` does. */
class Runner {
    List<String> engine
    File root = new File('').absoluteFile
    Map config = [testsDir: 'tests', workDir: '.nf-test', configFile: 'tests/nextflow.config', profile: '', options: '', ignore: []]

    void readConfig() {
        def file = new File(root, 'nf-test.config')
        if (!file.exists()) return
        new GroovyShell(new Binding(config: { Closure body ->
            body.resolveStrategy = Closure.DELEGATE_ONLY
            body.delegate = new Words(values: config)
            body()
        })).evaluate(file)
    }

    List<File> find(List<String> names) {
        def ignored = (config.ignore + ["${config.workDir}/**", 'work/**', '.*/**']).collect { FileSystems.default.getPathMatcher("glob:$it") }
        (names ?: [config.testsDir]).collectMany { name ->
            def start = new File(name).absoluteFile
            if (start.isFile()) return [start]
            if (!start.isDirectory()) throw new FileNotFoundException("no suite or folder $name")
            def found = []
            start.traverse(type: FileType.FILES, nameFilter: ~/.*\.nf\.test/) { found << it.canonicalFile }
            found.findAll { file -> !ignored.any { it.matches(root.toPath().relativize(file.toPath())) } }.sort()
        }
    }

    Suite read(File file) {
        def imports = new ImportCustomizer().addStaticStars('Helpers')
        new GroovyShell(getClass().classLoader, new Binding(), new CompilerConfiguration().addCompilationCustomizers(imports)).evaluate(file)
    }

    /** Return a job per test. Each job reads its suite anew, because closures hold state and tests run in parallel. */
    List<Job> jobs(File file) {
        try {
            def suite = read(file)
            return suite.tests.indices.collect { i ->
                new Job(hasSetup: suite.tests[i].values.setup != null, body: { folder -> runTest(file, read(file), i, folder) })
            }
        } catch (Throwable failure) {
            def outcome = new Outcome(text: "  FAILED  the suite cannot be read\n${failure.toString().indent(8)}")
            return [new Job(body: { folder -> outcome })]
        }
    }

    Outcome runTest(File file, Suite suite, int i, File launchFolder) {
        def test = suite.tests[i]
        def folder = root.toPath().resolve("${config.workDir}/tests/${"$file${test.title}".md5()}").toFile()
        remove(folder.toPath())
        def folders = ['meta', 'output'].collectEntries { [it, new File(folder, it)] }
        folders.values()*.mkdirs()
        def context = new Context(projectDir: root, outputDir: folders.output)
        def start = System.currentTimeMillis()
        def failure = null
        use(PathMethods) {
            try {
                context.prepare([test.values.setup, test.values.when])
                launch(file, suite, test, context, folders.meta, launchFolder)
                context.evaluate(test.values.then)
            } catch (Throwable problem) {
                failure = problem
            }
        }
        def lines = ["  ${failure ? 'FAILED' : 'PASSED'}  ${test.title} (${(System.currentTimeMillis() - start).intdiv(100) / 10} s)"]
        if (failure) {
            lines << failure.toString().indent(8)
            lines << "Nextflow's output:\n${(context.result.stdout + context.result.stderr).join('\n')}".indent(8)
            lines << "folder: $folder".indent(8)
        }
        new Outcome(passed: !failure, text: lines.join('\n'))
    }

    /**
     * Run all tests, one per processor at a time, and print the outcomes in the order of the suites.
     *
     * Each processor has a launch folder, where each test resumes the one before. A setup process with the same inputs
     * therefore runs once per folder; nf-test runs it in every test. The first folder takes the tests that have a setup
     * block, and the others take the rest first, so that most setup processes run in one folder only.
     */
    boolean run(List<File> suites) {
        def jobs = suites.collectEntries { file -> [file, jobs(file)] }
        def queue = new ConcurrentLinkedDeque<Job>(jobs.values().flatten().sort { !it.hasSetup })
        Runtime.runtime.availableProcessors().times { i ->
            def folder = new File(root, "${config.workDir}/launch/$i")
            remove(folder.toPath())
            folder.mkdirs()
            Thread.startDaemon {
                def job
                while (job = i ? queue.pollLast() : queue.pollFirst()) job.run(folder)
            }
        }
        def outcomes = jobs.collectMany { file, ofSuite ->
            println "\n${root.toPath().relativize(file.toPath())}"
            ofSuite.collect { it.outcome.get().tap { outcome -> println outcome.text } }
        }
        println "\n${outcomes.count { it.passed }} passed, ${outcomes.count { !it.passed }} failed"
        outcomes && outcomes.every { it.passed }
    }

    /** Remove a folder. Groovy's own deleteDir would follow the links in it, to the data that tasks were given. */
    static void remove(Path folder) {
        if (Files.exists(folder)) Files.walk(folder).withCloseable { it.sorted(Comparator.reverseOrder()).each { path -> Files.delete(path) } }
    }

    File resolve(File suite, String name) {
        name.startsWith('./') || name.startsWith('../') ? new File(suite.parentFile, name).canonicalFile : new File(name).absoluteFile
    }

    void launch(File file, Suite suite, Test test, Context context, File meta, File launchFolder) {
        def result = context.result
        def script = resolve(file, suite.values.script)
        def main = script
        if (suite.kind != 'pipeline') {
            // In the project's root, so that the project's bin/ and nextflow.config are seen.
            main = new File(root, ".nf-test-${meta.parentFile.name}.nf")
            main.text = entry(suite.values.target, file, script, context, meta)
        }
        def parameters = new File(meta, 'params.json')
        parameters.text = JsonOutput.toJson(context.params)
        def configs = [new File(root, 'nextflow.config'), new File(root, config.configFile)].findAll { it.exists() }
        configs += [suite, test].findResults { it.values.config ? resolve(file, it.values.config) : null }
        def command = engine + ['-quiet', '-log', "$meta/nextflow.log", 'run', "$main"]
        command += configs.collectMany { ['-c', "$it"] }
        command += ['-params-file', "$parameters", '-ansi-log', 'false']
        if (config.profile) command += ['-profile', config.profile]
        command += ['-with-trace', "$meta/trace.csv", '-w', "$launchFolder/work"]
        if (new File(launchFolder, '.nextflow/history').exists()) command << '-resume'
        command += (test.values.options ?: suite.values.options ?: config.options).tokenize()
        try {
            result.exitStatus = new ProcessBuilder(command*.toString()).directory(launchFolder)
                .redirectOutput(new File(meta, 'std.out')).redirectError(new File(meta, 'std.err')).start().waitFor()
        } finally {
            if (main != script) main.delete()
        }
        collect(result, meta)
    }

    void collect(Run result, File meta) {
        result.success = result.exitStatus == 0
        result.failed = !result.success
        result.stdout = new File(meta, 'std.out').readLines()
        result.stderr = new File(meta, 'std.err').readLines()
        def trace = new File(meta, 'trace.csv')
        def rows = trace.exists() ? trace.readLines()*.split('\t') : []
        result.trace = new Trace(tasks: rows.drop(1).collect { row ->
            def fields = [rows[0], row].transpose().collectEntries()
            [name: fields.name, success: fields.status in ['COMPLETED', 'CACHED']]
        })
        def end = new File(meta, 'workflow.json')
        if (end.exists()) new JsonSlurper().parse(end).each { key, value -> result[key] = value }
        meta.listFiles().findAll { it.name.startsWith('output_') }.each { file ->
            new JsonSlurper().parse(file).each { name, items ->
                result.channels[name] = Channels.sorted(items).sort { a, b -> Channels.order(a, b) }
            }
        }
    }

    /** An entry workflow that calls one process or workflow and leaves what it emits as JSON in a folder. */
    String entry(String target, File suite, File script, Context context, File meta) {
        def calls = context.dependencies.collect { "    input = []\n${it.mapping}\n    ${it.name}.run(input.toArray())" }
        def includes = context.dependencies.collect { dependency ->
            def source = dependency.source ? resolve(suite, dependency.source) : script
            "include { $dependency.name } from '$source'"
        }
        """\
        |${includes.join('\n')}
        |include { $target } from '$script'
        |
        |workflow {
        |    def input = []
        |${calls.join('\n')}
        |    input = []
        |${context.mapping}
        |    ${target}.run(input.toArray())
        |    if( ${target}.output ) {
        |        ${target}.out.getNames().each { name -> keep(name, ${target}.out.getProperty(name)) }
        |        ${target}.out.eachWithIndex { output, i -> keep(i.toString(), output) }
        |    }
        |    workflow.onComplete = {
        |        def end = [errorReport: workflow.errorReport]
        |        file('$meta/workflow.json').text = groovy.json.JsonOutput.toJson(end)
        |    }
        |}
        |
        |def keep(name, output) {
        |    def items = []
        |    output.subscribe(
        |        onNext: { item -> items.add(plain(item)) },
        |        onComplete: { file("$meta/output_\${name}.json").text = groovy.json.JsonOutput.toJson([(name): items]) }
        |    )
        |}
        |
        |def plain(value) {
        |    if( value instanceof Map ) { return value.collectEntries { k, v -> [k, plain(v)] } }
        |    if( value instanceof Collection ) { return value.collect { v -> plain(v) } }
        |    return value instanceof java.nio.file.Path ? value.toAbsolutePath().toString() : value
        |}
        |""".stripMargin()
    }
}

def runner = new Runner(engine: new JsonSlurper().parseText(args[0]))
runner.readConfig()
System.exit(runner.run(runner.find(args.drop(1) as List)) ? 0 : 1)
