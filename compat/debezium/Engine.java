import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.format.Json;
import java.io.FileReader;
import java.io.Reader;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * An application that holds Debezium's engine and writes what that tells it to topics, until it is told to end:
 * Engine PROPERTIES. A change is done with once the broker has acknowledged it.
 */
public final class Engine {
    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        try (Reader source = new FileReader(arguments[0])) {
            properties.load(source);
        }
        Map<String, Object> settings = Map.of("bootstrap.servers", properties.get("bootstrap.servers"));
        StringSerializer texts = new StringSerializer();
        KafkaProducer<String, String> producer = new KafkaProducer<>(settings, texts, texts);
        Thread running = Thread.currentThread();
        DebeziumEngine<ChangeEvent<String, String>> engine = DebeziumEngine.create(Json.class)
            .using(properties)
            .using((success, message, error) -> System.out.println("ended: " + success + " " + message + " " + error))
            .notifying((records, committer) -> {
                List<Future<RecordMetadata>> sent = new ArrayList<>();
                for (ChangeEvent<String, String> one : records) {
                    sent.add(producer.send(new ProducerRecord<>(one.destination(), one.key(), one.value())));
                }
                for (int at = 0; at < sent.size(); at++) {
                    try {
                        sent.get(at).get();
                    } catch (java.util.concurrent.ExecutionException error) {
                        throw new RuntimeException(error);
                    }
                    committer.markProcessed(records.get(at));
                }
                committer.markBatchFinished();
            })
            .build();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                engine.close();
                running.join();
            } catch (Exception error) {
                error.printStackTrace();
            }
        }));
        engine.run();
    }
}
