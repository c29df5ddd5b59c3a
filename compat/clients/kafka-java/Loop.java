import com.fasterxml.jackson.jr.ob.JSON;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.apache.kafka.common.protocol.Errors;

/** The loop of the drivers: see ../README.md. A driver is an object whose methods have the commands' names. */
class Loop {
    /** A command, or a record in one. */
    record Command(Map<String, Object> fields) {
        Object any(String name) {
            return fields.get(name);
        }

        String text(String name) {
            return (String) any(name);
        }

        Integer number(String name) {
            return (Integer) any(name);
        }

        byte[] bytes(String name) {
            return unpacked(any(name));
        }

        @SuppressWarnings("unchecked")
        Map<String, String> texts(String name) {
            return (Map<String, String>) any(name);
        }

        @SuppressWarnings("unchecked")
        List<List<Object>> rows(String name) {
            return (List<List<Object>>) any(name);
        }

        @SuppressWarnings("unchecked")
        <T> List<T> list(String name) {
            return (List<T>) any(name);
        }

        List<Command> records() {
            return this.<Map<String, Object>>list("records").stream().map(Command::new).toList();
        }
    }

    /** The answer is this error. */
    static class Refused extends RuntimeException {
        final String name;

        Refused(String name, String text) {
            super(text);
            this.name = name;
        }
    }

    static Refused unsupported(String what) {
        return new Refused("UNSUPPORTED", what);
    }

    static byte[] unpacked(Object text) {
        return text == null ? null : Base64.getDecoder().decode((String) text);
    }

    static String packed(byte[] data) {
        return data == null ? null : Base64.getEncoder().encodeToString(data);
    }

    /** A map that may hold nulls. */
    static Map<String, Object> map(Object... namesAndValues) {
        Map<String, Object> map = new HashMap<>();
        for (int i = 0; i < namesAndValues.length; i += 2) map.put((String) namesAndValues[i], namesAndValues[i + 1]);
        return map;
    }

    /** By Kafka's name, or that of the exception. */
    static Map<String, Object> error(Throwable thrown) {
        while ((thrown instanceof ExecutionException || thrown instanceof InvocationTargetException)) thrown = thrown.getCause();
        String name = thrown.getClass().getSimpleName();
        if (thrown instanceof Refused refused) name = refused.name;
        else if (Errors.forException(thrown).code() > 0) name = Errors.forException(thrown).name();
        return map("error", name, "text", String.valueOf(thrown.getMessage()));
    }

    /** A call by its name, of what not all versions have. */
    static Object call(Object target, String name, Class<?> type, Object argument) throws Exception {
        return target.getClass().getMethod(name, type).invoke(target, argument);
    }

    /** Until the end of the input. Commands run side by side. */
    static void serve(Object driver) throws Exception {
        ExecutorService threads = Executors.newCachedThreadPool();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            Command command = new Command(JSON.std.mapFrom(line));
            threads.submit(() -> answer(driver, command));
        }
        Runtime.getRuntime().halt(0);
    }

    private static void answer(Object driver, Command command) {
        Map<String, Object> answer;
        try {
            Object ok = call(driver, command.text("do"), Command.class, command);
            answer = map("ok", ok == null ? Map.of() : ok);
        } catch (NoSuchMethodException missing) {
            answer = error(unsupported(missing.getMessage()));
        } catch (Throwable thrown) {
            thrown.printStackTrace();
            answer = error(thrown);
        }
        answer.put("id", command.any("id"));
        try {
            byte[] line = (JSON.std.asString(answer) + "\n").getBytes(StandardCharsets.UTF_8);
            synchronized (System.out) {
                System.out.write(line);
                System.out.flush();
            }
        } catch (java.io.IOException broken) {
            broken.printStackTrace();
        }
    }
}
