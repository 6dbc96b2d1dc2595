/*
 * Runs nf-test suites (*.nf.test) where nf-test itself is not installed: the part of its language that this project's
 * suites use, with the same meaning. What it does not know fails the test by name. It never writes a snapshot.
 *
 * Arguments: the command that starts Nextflow, as a JSON list; then suite files and folders to look for them in.
 */
import groovy.io.FileType
import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import groovy.yaml.YamlSlurper
import java.nio.file.FileSystems
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.Paths
import java.util.concurrent.Callable
import java.util.concurrent.Executors
import java.util.concurrent.LinkedBlockingQueue
import java.util.zip.GZIPInputStream
import org.codehaus.groovy.control.CompilerConfiguration
import org.codehaus.groovy.control.customizers.ImportCustomizer

/** What a suite may call from anywhere; imported statically into every suite. */
class Helpers {
    static Path path(CharSequence name) { Paths.get(name.toString()) }
    static File file(CharSequence name) { new File(name.toString()) }
    static Suite nextflow_process(Closure body) { new Suite(kind: 'process').with(body) }
    static Suite nextflow_workflow(Closure body) { new Suite(kind: 'workflow').with(body) }
    static Suite nextflow_pipeline(Closure body) { new Suite(kind: 'pipeline').with(body) }

    static void with(Object subject, Closure body) {
        body.resolveStrategy = Closure.DELEGATE_FIRST
        body.delegate = subject
        body()
    }

    static void assertAll(Closure... checks) {
        def failures = checks.findResults { check ->
            try { check(); null } catch (Throwable failure) { failure.toString() }
        }
        if (failures) throw new AssertionError("${failures.size()} of ${checks.size()} assertions failed\n${failures.join('\n')}" as Object)
    }

    static void assertContainsInAnyOrder(List actual, List expected) {
        assert actual.countBy { it } == expected.countBy { it }
    }
}

/** What nf-test adds to a java.nio.file.Path. */
class PathMethods {
    static boolean exists(Path self) { Files.exists(self) }
    static Path[] list(Path self) { self.toFile().listFiles().sort()*.toPath() as Path[] }
    static Object getJson(Path self) { new JsonSlurper().parse(self.toFile()) }
    static Object getYaml(Path self) { new YamlSlurper().parse(self) }
    static String getTextGzip(Path self) { new GZIPInputStream(Files.newInputStream(self)).getText('UTF-8') }
    static List<String> getLinesGzip(Path self) { getTextGzip(self).readLines() }
    // Of a .gz file nf-test takes the content, whose bytes do not depend on when it was compressed.
    static String getMd5(Path self) {
        def stream = Files.newInputStream(self)
        def digest = java.security.MessageDigest.getInstance('MD5')
        (self.toString().endsWith('.gz') ? new GZIPInputStream(stream) : stream).withStream { it.eachByte(65536) { bytes, n -> digest.update(bytes, 0, n) } }
        digest.digest().encodeHex().toString()
    }
}

/** A node of the language whose words with one argument are remembered: `script "../main.nf"`. */
class Settings {
    Map values = [:]
    List tags = []
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
    void profile(String text) { values.profile = text }
    void tag(String text) { tags << text }
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
    void expect(Closure body) { values.then = body }
    void cleanup(Closure body) { values.cleanup = body }
}

/** A process run before the one under test: `run("INGEST", alias: "FIRST") { script …; process { … } }`. */
class Dependency {
    String name, alias, source, mapping = ''
    void script(String text) { source = text }
    void process(Closure body) { mapping = body().toString() }
    void workflow(Closure body) { mapping = body().toString() }
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
            return new File(a).name <=> new File(b).name ?: PathMethods.getMd5(Paths.get(a)) <=> PathMethods.getMd5(Paths.get(b))
        a.toString() <=> b.toString()
    }
}

class Trace {
    List<Map> tasks = []
    List<Map> tasks() { tasks }
    List<Map> succeeded() { tasks.findAll { it.success } }
    List<Map> failed() { tasks.findAll { !it.success } }
    int getTasksCount() { tasks.size() }
    int getTasksSucceeded() { succeeded().size() }
    int getTasksFailed() { failed().size() }
}

/** `process` and `workflow` of a then block. */
class Run {
    boolean success, failed
    int exitStatus
    String errorMessage, errorReport
    List<String> stdout, stderr
    Trace trace
    Channels channels = new Channels()
    Channels getOut() {
        if (!channels) throw new IllegalStateException('there are no output channels')
        channels
    }
}

class Snapshot {
    Object content
    File file
    String id
    boolean match(String name = id) {
        def known = file.exists() ? new JsonSlurper().parse(file) : [:]
        if (!known.containsKey(name)) throw new AssertionError("no snapshot '$name' in $file; nf-test writes it" as Object)
        def (expected, actual) = [known[name].content, plain(content)].collect { JsonOutput.prettyPrint(JsonOutput.toJson(it)) }
        if (expected != actual) throw new AssertionError("snapshot '$name' of $file differs\nexpected: $expected\nactual: $actual" as Object)
        true
    }

    /** The value as nf-test stores it: a file is its name and checksum, a folder the list of what is in it. */
    static Object plain(Object value) {
        if (value instanceof Map) return value.collectEntries { k, v -> [k.toString(), plain(v)] }
        if (value instanceof Collection || value instanceof Object[]) return value.collect { plain(it) }
        if (!(value instanceof Path || value instanceof File || value instanceof CharSequence)) return value
        def file = new File(value.toString())
        if (file.isDirectory()) return file.listFiles().sort().collect { plain(it) }
        file.isFile() ? "${file.name}:md5,${PathMethods.getMd5(file.toPath())}".toString() : value.toString()
    }
}

/** What setup, when and then blocks see: folders, params, and the run. */
class Context {
    String baseDir, projectDir, launchDir, workDir, outputDir, moduleDir, moduleTestDir
    Map params = [:]
    String mapping = ''
    List<Dependency> dependencies = []
    Run result = new Run()
    Closure paramsBody, mappingBody
    File snapshots
    String title

    Run getProcess() { result }
    Run getWorkflow() { result }
    void params(Closure body) { paramsBody = body }
    void process(Closure body) { mappingBody = body }
    void workflow(Closure body) { mappingBody = body }
    Snapshot snapshot(Object... values) { new Snapshot(content: values, file: snapshots, id: title) }
    void run(Map options = [:], String name, Closure body) {
        def dependency = new Dependency(name: name, alias: options.alias)
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

/** What came of a test. */
class Outcome {
    boolean passed
    String text
}

/** Runs suites from the project's root, as `nf-test test` does. */
class Runner {
    List<String> engine
    File root = new File('').absoluteFile
    /** A launch folder for each test that runs at once. Tests that follow one another there resume, so that processes of
     *  setup blocks with the same inputs run once. Real nf-test runs them each time. */
    LinkedBlockingQueue<File> launchFolders = new LinkedBlockingQueue<>()
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

    /** Return what runs each test of a suite. Every test reads the suite anew: closures hold state, and tests run side by side. */
    List<Callable<Outcome>> tests(File file) {
        try {
            def titles = read(file).tests*.title
            return titles.indices.collect { i -> { -> runTest(file, read(file), i) } as Callable<Outcome> }
        } catch (Throwable failure) {
            return [{ -> new Outcome(text: "  FAILED  the suite cannot be read\n${failure.toString().indent(8)}") } as Callable<Outcome>]
        }
    }

    Outcome runTest(File file, Suite suite, int i) {
        def test = suite.tests[i]
        def folder = root.toPath().resolve("${config.workDir}/tests/${"$file${test.title}".md5()}").toFile()
        remove(folder.toPath())
        def folders = ['meta', 'output'].collectEntries { [it, new File(folder, it)] }
        folders.values()*.mkdirs()
        def launchFolder = launchFolders.take()
        def script = resolve(file, suite.values.script)
        def context = new Context(
            baseDir: root, projectDir: root, launchDir: launchFolder, workDir: new File(launchFolder, 'work'), outputDir: folders.output,
            moduleDir: script.parentFile, moduleTestDir: file.parentFile, snapshots: new File("${file}.snap"), title: test.title)
        def start = System.currentTimeMillis()
        def failure = null
        use(PathMethods) {
            try {
                context.prepare([suite.values.setup, test.values.setup, test.values.when])
                launch(file, suite, test, script, context, folders.meta)
                context.evaluate(test.values.then)
            } catch (Throwable problem) {
                failure = problem
            } finally {
                context.evaluate(test.values.cleanup)
                launchFolders.put(launchFolder)
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

    /** Run all tests, as many at once as there are processors, and print what came of them in the order of the suites. */
    boolean run(List<File> suites) {
        def processors = Runtime.runtime.availableProcessors()
        processors.times { i ->
            def folder = new File(root, "${config.workDir}/launch/$i")
            remove(folder.toPath())
            folder.mkdirs()
            launchFolders << folder
        }
        def pool = Executors.newFixedThreadPool(processors)
        try {
            def running = suites.collectEntries { file -> [file, tests(file).collect { test -> pool.submit((Callable) test) }] }
            def outcomes = running.collectMany { file, tests ->
                println "\n${root.toPath().relativize(file.toPath())}"
                tests.collect { test -> test.get().tap { println it.text } }
            }
            println "\n${outcomes.count { it.passed }} passed, ${outcomes.count { !it.passed }} failed"
            return outcomes && outcomes.every { it.passed }
        } finally {
            pool.shutdownNow()
        }
    }

    /** Remove a folder. Groovy's own deleteDir would follow the links in it, to the data that tasks were given. */
    static void remove(Path folder) {
        if (Files.exists(folder)) Files.walk(folder).withCloseable { it.sorted(Comparator.reverseOrder()).each { path -> Files.delete(path) } }
    }

    File resolve(File suite, String name) {
        name.startsWith('./') || name.startsWith('../') ? new File(suite.parentFile, name).canonicalFile : new File(name).absoluteFile
    }

    void launch(File file, Suite suite, Test test, File script, Context context, File meta) {
        def result = context.result
        def main = script
        if (suite.kind != 'pipeline') {
            // In the project's root, so that the project's bin/ and nextflow.config are seen.
            main = new File(root, ".nf-test-${meta.parentFile.name}.nf")
            main.text = entry(suite.values.target, script, context, meta)
        }
        def parameters = new File(meta, 'params.json')
        parameters.text = JsonOutput.toJson(context.params)
        def configs = [new File(root, 'nextflow.config'), new File(root, config.configFile)].findAll { it.exists() }
        configs += [suite, test].findResults { it.values.config ? resolve(file, it.values.config) : null }
        // A profile replaces those before it unless it starts with a plus.
        def profiles = [config.profile, suite.values.profile].findAll().inject([]) { known, next ->
            (next.startsWith('+') ? known : []) + next.split(',')*.replace('+', '')*.trim()
        }
        def command = engine + ['-quiet', '-log', "$meta/nextflow.log", 'run', "$main"]
        command += configs.collectMany { ['-c', "$it"] }
        command += ['-params-file', "$parameters", '-ansi-log', 'false']
        if (profiles) command += ['-profile', profiles.join(',')]
        command += ['-with-trace', "$meta/trace.csv", '-w', context.workDir]
        if (new File(context.launchDir, '.nextflow/history').exists()) command << '-resume'
        command += (test.values.options ?: suite.values.options ?: config.options).tokenize()
        try {
            result.exitStatus = new ProcessBuilder(command*.toString()).directory(new File(context.launchDir))
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
    String entry(String target, File script, Context context, File meta) {
        def calls = context.dependencies.collect { "    input = []\n${it.mapping}\n    ${it.alias ?: it.name}.run(input.toArray())" }
        def includes = context.dependencies.collect { dependency ->
            def source = dependency.source ? resolve(new File(context.moduleTestDir, 'x'), dependency.source) : script
            "include { $dependency.name${dependency.alias ? " as $dependency.alias" : ''} } from '$source'"
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
        |        def end = [errorMessage: workflow.errorMessage, errorReport: workflow.errorReport]
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
