import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs the main methods of Kafka's tools in one process, each as if it had a process of its own: its own standard streams
 * (by an inherited thread local, so that its threads have them too), its own exit code, its own shutdown hooks. Kafka's
 * tools end through Exit, which can be given another procedure; behind an exit nothing of a run is seen any more.
 *
 * Requests on stdin: number, then 'r' (class, milliseconds it may take, arguments, standard input), 's' (stop as SIGTERM
 * does) or 'p' (tell what it printed so far). Answers on stdout: 'e' with exit code, output, errors; or 'p' with output.
 */
public final class ToolServer {
    private static final InheritableThreadLocal<Run> CURRENT = new InheritableThreadLocal<>();
    private static final Map<Integer, Run> RUNS = new ConcurrentHashMap<>();
    private static final DataOutputStream ANSWERS =
        new DataOutputStream(new FileOutputStream(FileDescriptor.out));
    private static final Map<Thread, Thread> JAVA_HOOKS = javaHooks();
    private static final URL[] CLASS_PATH = classPath();
    /** The exit code of a run that took too long. */
    private static final int TOO_LONG = -1000;

    /** Unwinds a thread that has called Exit. */
    private static final class Ended extends Error {
        Ended() {
            super("ended", null, false, false);
        }
    }

    /** Loads the tools' own packages for one run alone: some keep what they count in static fields. */
    private static final class Tools extends URLClassLoader {
        private static final String[] OWN = {"org.apache.kafka.tools.", "kafka.tools.", "kafka.admin."};

        Tools() {
            super(CLASS_PATH, ToolServer.class.getClassLoader());
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            for (String own : OWN) {
                if (name.startsWith(own)) {
                    synchronized (getClassLoadingLock(name)) {
                        Class<?> found = findLoadedClass(name);
                        return found != null ? found : findClass(name);
                    }
                }
            }
            return super.loadClass(name, resolve);
        }
    }

    private static final class Sink extends OutputStream {
        private final boolean errors;

        Sink(boolean errors) {
            this.errors = errors;
        }

        @Override
        public void write(int one) {
            write(new byte[] {(byte) one}, 0, 1);
        }

        @Override
        public void write(byte[] data, int offset, int length) {
            Run run = CURRENT.get();
            if (run != null) {
                run.print(errors, data, offset, length);
            }
        }
    }

    private static final class Source extends InputStream {
        @Override
        public int read() throws IOException {
            Run run = CURRENT.get();
            return run == null ? -1 : run.input.read();
        }

        @Override
        public int read(byte[] data, int offset, int length) throws IOException {
            Run run = CURRENT.get();
            return run == null ? -1 : run.input.read(data, offset, length);
        }
    }

    private static final class Run implements Runnable {
        final int number;
        final Method main;
        final String[] arguments;
        final InputStream input;
        final long millis;
        final ThreadGroup group;
        final List<Runnable> hooks = new ArrayList<>();
        private final ByteArrayOutputStream output = new ByteArrayOutputStream();
        private final ByteArrayOutputStream errors = new ByteArrayOutputStream();
        private final BlockingQueue<Integer> ends = new LinkedBlockingQueue<>();
        private volatile boolean closed;

        Run(int number, Method main, String[] arguments, byte[] input, long millis) {
            this.number = number;
            this.main = main;
            this.arguments = arguments;
            this.input = new ByteArrayInputStream(input);
            this.millis = millis;
            this.group = new ThreadGroup("run-" + number);
        }

        synchronized void print(boolean toErrors, byte[] data, int offset, int length) {
            if (!closed) {
                (toErrors ? errors : output).write(data, offset, length);
            }
        }

        synchronized byte[] printed(boolean ofErrors) {
            return (ofErrors ? errors : output).toByteArray();
        }

        /** What Exit does: the thread goes no further; once the answer is out it is unwound. */
        void exit(int code) {
            if (!closed) {
                ends.add(code);
                try {
                    Thread.sleep(Long.MAX_VALUE);
                } catch (InterruptedException unwind) {
                    // The answer is out.
                }
            }
            throw new Ended();
        }

        /** The thread of main. */
        private void call() {
            CURRENT.set(this);
            int code = 0;
            try {
                main.invoke(null, (Object) arguments);
            } catch (InvocationTargetException thrown) {
                if (thrown.getCause() instanceof Ended) {
                    return;
                }
                code = 1;
                System.err.print("Exception in thread \"main\" ");
                thrown.getCause().printStackTrace();
            } catch (IllegalAccessException impossible) {
                code = 1;
            }
            ends.add(code);
        }

        /** Some register their hooks with Java itself: those of this run's threads are started now. */
        private List<Thread> ownHooks() {
            List<Thread> own = new ArrayList<>();
            synchronized (JAVA_HOOKS) {
                for (Thread hook : JAVA_HOOKS.keySet()) {
                    if (hook.getThreadGroup() == group) {
                        own.add(hook);
                    }
                }
                own.forEach(JAVA_HOOKS::remove);
            }
            own.forEach(Thread::start);
            return own;
        }

        private void runHooks() throws InterruptedException {
            List<Thread> started = new ArrayList<>();
            List<Runnable> all;
            synchronized (hooks) {
                all = new ArrayList<>(hooks);
                hooks.clear();
            }
            for (Runnable hook : all) {
                Thread thread = new Thread(group, () -> {
                    CURRENT.set(this);
                    hook.run();
                });
                thread.setDaemon(true);
                thread.start();
                started.add(thread);
            }
            started.addAll(ownHooks());
            for (Thread thread : started) {
                thread.join(10_000);
            }
        }

        void stop() {
            Thread stopper = new Thread(() -> {
                try {
                    runHooks();
                } catch (InterruptedException ignored) {
                    Thread.currentThread().interrupt();
                }
            });
            stopper.setDaemon(true);
            stopper.start();
        }

        @Override
        public void run() {
            try {
                Thread thread = new Thread(group, this::call, "main");
                thread.setContextClassLoader(main.getDeclaringClass().getClassLoader());
                thread.setDaemon(true);
                thread.start();
                Integer code = ends.poll(millis, TimeUnit.MILLISECONDS);
                if (code == null) {
                    code = TOO_LONG;
                    print(true, "it hangs here:\n".getBytes(StandardCharsets.UTF_8), 0, 15);
                    for (StackTraceElement at : thread.getStackTrace()) {
                        byte[] line = ("\tat " + at + "\n").getBytes(StandardCharsets.UTF_8);
                        print(true, line, 0, line.length);
                    }
                } else {
                    runHooks();
                }
                closed = true;
                RUNS.remove(number);
                synchronized (ANSWERS) {
                    ANSWERS.writeInt(number);
                    ANSWERS.writeByte('e');
                    ANSWERS.writeInt(code);
                    answer(printed(false));
                    answer(printed(true));
                    ANSWERS.flush();
                }
                thread.interrupt();
            } catch (IOException | InterruptedException gone) {
                Runtime.getRuntime().halt(1);
            }
        }
    }

    /** Java's own table of shutdown hooks, which nothing but reflection gives out. */
    @SuppressWarnings("unchecked")
    private static Map<Thread, Thread> javaHooks() {
        try {
            Field hooks = Class.forName("java.lang.ApplicationShutdownHooks").getDeclaredField("hooks");
            hooks.setAccessible(true);
            return (Map<Thread, Thread>) hooks.get(null);
        } catch (ReflectiveOperationException other) {
            throw new IllegalStateException(other);
        }
    }

    /** The jars that hold tools. */
    private static URL[] classPath() {
        List<URL> jars = new ArrayList<>();
        for (String jar : System.getProperty("java.class.path").split(File.pathSeparator)) {
            String name = new File(jar).getName();
            if (name.startsWith("kafka_") || name.startsWith("kafka-tools-") || name.startsWith("kafka-server-")) {
                try {
                    jars.add(new File(jar).toURI().toURL());
                } catch (MalformedURLException impossible) {
                    throw new IllegalStateException(impossible);
                }
            }
        }
        return jars.toArray(new URL[0]);
    }

    private static void answer(byte[] data) throws IOException {
        ANSWERS.writeInt(data.length);
        ANSWERS.write(data);
    }

    private static byte[] read(DataInputStream requests) throws IOException {
        byte[] data = new byte[requests.readInt()];
        requests.readFully(data);
        return data;
    }

    private static String readText(DataInputStream requests) throws IOException {
        return new String(read(requests), StandardCharsets.UTF_8);
    }

    private static void start(int number, DataInputStream requests) throws Exception {
        String name = readText(requests);
        long millis = requests.readInt();
        String[] arguments = new String[requests.readInt()];
        for (int n = 0; n < arguments.length; n++) {
            arguments[n] = readText(requests);
        }
        ClassLoader loader = new Tools();
        Method main = Class.forName(name, true, loader).getMethod("main", String[].class);
        Run run = new Run(number, main, arguments, read(requests), millis);
        RUNS.put(number, run);
        Thread thread = new Thread(run);
        thread.setDaemon(true);
        thread.start();
    }

    public static void main(String[] none) throws Exception {
        System.setOut(new PrintStream(new Sink(false), true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(new Sink(true), true, StandardCharsets.UTF_8));
        System.setIn(new Source());
        Exit.Procedure ending = (code, message) -> {
            Run run = CURRENT.get();
            if (run != null) {
                run.exit(code);
            }
            throw new Ended();
        };
        Exit.setExitProcedure(ending);
        Exit.setHaltProcedure(ending);
        Exit.setShutdownHookAdder((name, hook) -> {
            Run run = CURRENT.get();
            if (run != null) {
                synchronized (run.hooks) {
                    run.hooks.add(hook);
                }
            }
        });
        DataInputStream requests = new DataInputStream(new FileInputStream(FileDescriptor.in));
        while (true) {
            int number = requests.readInt();
            switch (requests.readByte()) {
                case 'r':
                    start(number, requests);
                    break;
                case 's':
                    Run stopped = RUNS.get(number);
                    if (stopped != null) {
                        stopped.stop();
                    }
                    break;
                default:
                    Run asked = RUNS.get(number);
                    synchronized (ANSWERS) {
                        ANSWERS.writeInt(number);
                        ANSWERS.writeByte('p');
                        answer(asked == null ? new byte[0] : asked.printed(false));
                        ANSWERS.flush();
                    }
            }
        }
    }
}
