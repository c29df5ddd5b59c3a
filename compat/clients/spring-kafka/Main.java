import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Pattern;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;
import org.springframework.kafka.KafkaException;
import org.springframework.kafka.core.DefaultKafkaProducerFactory;
import org.springframework.kafka.core.KafkaAdmin;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.kafka.listener.ContainerProperties;
import org.springframework.kafka.support.SendResult;
import org.springframework.kafka.support.TopicPartitionOffset;
import org.springframework.kafka.support.TopicPartitionOffset.SeekPosition;

/** The driver of Spring Kafka: its template sends, its listener containers (Reader) read. See ../README.md. */
public class Main {
    static final Map<String, Object> COMMON = Map.of(
            "reconnect.backoff.ms", 50,
            "reconnect.backoff.max.ms", 200,
            "retry.backoff.ms", 100,
            "retry.backoff.max.ms", 200);
    static final Map<String, Map<String, Object>> ROLES = Map.of(
            "producer", Map.of(
                    "acks", "all", "enable.idempotence", false, "linger.ms", 0, "retries", 600, "delivery.timeout.ms", 60_000),
            "consumer", Map.of("enable.auto.commit", false, "auto.offset.reset", "earliest", "fetch.max.wait.ms", 100),
            "admin", Map.of());

    final Map<String, Object> handles = new ConcurrentHashMap<>();

    public static void main(String[] arguments) throws Exception {
        Loop.serve(new Main());
    }

    public Object hello(Loop.Command command) {
        String version = KafkaTemplate.class.getPackage().getImplementationVersion();
        return Map.of("version", version, "library", "kafka-clients " + AppInfoParser.getVersion());
    }

    public void open(Loop.Command command) {
        Map<String, Object> settings = new HashMap<>(COMMON);
        settings.put("bootstrap.servers", command.text("bootstrap"));
        settings.putAll(ROLES.get(command.text("role")));
        settings.putAll(command.texts("settings"));
        handles.put(command.text("handle"), switch (command.text("role")) {
            case "producer" -> new DefaultKafkaProducerFactory<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
            case "consumer" -> new Reader(settings);
            default -> admin(settings);
        });
    }

    /** One that changes the configs of a topic that is there. */
    static KafkaAdmin admin(Map<String, Object> settings) {
        KafkaAdmin admin = new KafkaAdmin(settings);
        admin.setModifyTopicConfigs(true);
        return admin;
    }

    public void close(Loop.Command command) throws Exception {
        Object handle = handles.remove(command.text("handle"));
        if (handle instanceof DefaultKafkaProducerFactory<?, ?> factory) factory.destroy();
        if (handle instanceof Reader reader) reader.close();
    }

    /** What Kafka said is inside. */
    static Throwable cause(Throwable thrown) {
        return thrown instanceof KafkaException && thrown.getCause() != null ? cause(thrown.getCause()) : thrown;
    }

    @SuppressWarnings("unchecked")
    public Object produce(Loop.Command command) throws Exception {
        var factory = (DefaultKafkaProducerFactory<byte[], byte[]>) handles.get(command.text("handle"));
        KafkaTemplate<byte[], byte[]> template = new KafkaTemplate<>(factory);
        List<CompletableFuture<SendResult<byte[], byte[]>>> sent = new ArrayList<>();
        for (Loop.Command given : command.records()) sent.add(template.send(record(command.text("topic"), given)));
        List<Object> answers = new ArrayList<>();
        for (CompletableFuture<SendResult<byte[], byte[]>> one : sent) {
            answers.add(one.handle((result, thrown) -> {
                if (thrown != null) return Loop.error(cause(thrown));
                RecordMetadata told = result.getRecordMetadata();
                // Below 0 with acks 0.
                return Loop.map("partition", told.partition(), "offset", told.offset() < 0 ? null : told.offset());
            }).get());
        }
        return Map.of("records", answers);
    }

    static ProducerRecord<byte[], byte[]> record(String topic, Loop.Command given) {
        Number timestamp = (Number) given.any("timestamp");
        ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
                topic, given.number("partition"), timestamp == null ? null : timestamp.longValue(), given.bytes("key"), given.bytes("value"));
        if (given.any("headers") != null) {
            for (List<Object> header : given.rows("headers")) {
                record.headers().add(new RecordHeader((String) header.get(0), Loop.unpacked(header.get(1))));
            }
        }
        return record;
    }

    public void assign(Loop.Command command) throws Exception {
        String topic = command.text("topic");
        List<TopicPartitionOffset> starts = new ArrayList<>();
        for (List<Object> row : command.rows("partitions")) {
            int partition = (Integer) row.get(0);
            if (row.get(1) instanceof Map<?, ?> named) {
                Number at = (Number) named.values().iterator().next();
                SeekPosition how = named.containsKey("timestamp") ? SeekPosition.TIMESTAMP : null;
                starts.add(new TopicPartitionOffset(topic, partition, at.longValue(), how));
            } else {
                SeekPosition how = row.get(1).equals("end") ? SeekPosition.END : SeekPosition.BEGINNING;
                starts.add(new TopicPartitionOffset(topic, partition, how));
            }
        }
        reader(command).start(new ContainerProperties(starts.toArray(new TopicPartitionOffset[0])));
        List<TopicPartition> ends = starts.stream()
                .filter(one -> one.getPosition() == SeekPosition.END)
                .map(TopicPartitionOffset::getTopicPartition)
                .toList();
        if (!ends.isEmpty()) reader(command).inItsThread(consumer -> ends.forEach(consumer::position)).get();
    }

    public void subscribe(Loop.Command command) {
        List<String> topics = command.list("topics");
        reader(command).start(topics != null
                ? new ContainerProperties(topics.toArray(new String[0]))
                : new ContainerProperties(Pattern.compile(command.text("pattern"))));
    }

    public Object poll(Loop.Command command) throws Exception {
        return reader(command).poll(command.number("count"), command.number("timeout_ms"));
    }

    public void commit(Loop.Command command) throws Exception {
        Map<TopicPartition, Long> offsets = new HashMap<>();
        for (List<Object> row : command.rows("offsets")) {
            offsets.put(new TopicPartition((String) row.get(0), (Integer) row.get(1)), ((Number) row.get(2)).longValue());
        }
        reader(command).commit(offsets, (boolean) command.any("async"));
    }

    public void seek(Loop.Command command) throws Exception {
        reader(command).seek(partition(command), command.number("offset"));
    }

    public void pause(Loop.Command command) throws Exception {
        reader(command).pause(partition(command));
    }

    public void resume(Loop.Command command) {
        reader(command).container.resumePartition(partition(command));
    }

    public void create_topic(Loop.Command command) throws Throwable {
        declare(command, Optional.of(command.number("partitions")), command.texts("configs"));
    }

    public void create_partitions(Loop.Command command) throws Throwable {
        declare(command, Optional.of(command.number("count")), Map.of());
    }

    public void alter_configs(Loop.Command command) throws Throwable {
        declare(command, Optional.empty(), command.texts("configs"));
    }

    /** The topic is to be so; what is empty is the broker's choice. */
    void declare(Loop.Command command, Optional<Integer> partitions, Map<String, String> configs) throws Throwable {
        try {
            admin(command).createOrModifyTopics(new NewTopic(command.text("topic"), partitions, Optional.empty()).configs(configs));
        } catch (KafkaException exception) {
            throw cause(exception);
        }
    }

    public Object describe_topic(Loop.Command command) throws Throwable {
        String topic = command.text("topic");
        List<Object> partitions = new ArrayList<>();
        try {
            for (TopicPartitionInfo one : admin(command).describeTopics(topic).get(topic).partitions()) {
                partitions.add(Map.of(
                        "partition", one.partition(), "leader", one.leader().id(),
                        "replicas", one.replicas().stream().map(Node::id).toList(),
                        "isr", one.isr().stream().map(Node::id).toList()));
            }
        } catch (KafkaException exception) {
            throw cause(exception);
        }
        return Map.of("partitions", partitions);
    }

    public void delete_topic(Loop.Command command) throws Throwable {
        try {
            admin(command).deleteTopics(command.text("topic"));
        } catch (KafkaException exception) {
            throw cause(exception);
        }
    }

    Reader reader(Loop.Command command) {
        return (Reader) handles.get(command.text("handle"));
    }

    KafkaAdmin admin(Loop.Command command) {
        return (KafkaAdmin) handles.get(command.text("handle"));
    }

    static TopicPartition partition(Loop.Command command) {
        return new TopicPartition(command.text("topic"), command.number("partition"));
    }
}
