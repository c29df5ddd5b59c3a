import java.lang.reflect.InvocationTargetException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/**
 * The driver of Kafka's own clients, as they have been since 0.9: see ../README.md. Each further class of this name adds what
 * came with a version, and is compiled with that and all later ones. What a later one has removed is called by its name.
 */
public class Since0_9 {
    /** An older version does not mind settings that it does not know. */
    static final Map<String, Object> COMMON = Map.of(
            "reconnect.backoff.ms", 50,
            "reconnect.backoff.max.ms", 200,
            "retry.backoff.ms", 100,
            "retry.backoff.max.ms", 200);
    static final Map<String, Map<String, Object>> ROLES = Map.of(
            "producer", Map.of(
                    "acks", "all",
                    "enable.idempotence", false,
                    "linger.ms", 0,
                    "retries", 600,
                    "delivery.timeout.ms", 60_000,
                    // How long a record waits for the broker, before 2.1.
                    "request.timeout.ms", 60_000,
                    // A producer of 2.0 may overlook that a connection was closed, until it wakes up for something else.
                    "metadata.max.age.ms", 500),
            "consumer", Map.of("enable.auto.commit", false, "auto.offset.reset", "earliest", "fetch.max.wait.ms", 100),
            "admin", Map.of());

    final Map<String, Object> handles = new ConcurrentHashMap<>();
    final ScheduledExecutorService alarms = Executors.newSingleThreadScheduledExecutor();

    /** A consumer, and what came while a commit was waited for. */
    class Reader implements AutoCloseable {
        final KafkaConsumer<byte[], byte[]> consumer;
        final List<Object> kept = new ArrayList<>();
        int rebalances;

        Reader(Map<String, Object> settings) {
            consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        }

        void keep(ConsumerRecords<byte[], byte[]> records) {
            for (ConsumerRecord<byte[], byte[]> record : records) kept.add(read(record));
        }

        @Override
        public void close() {
            consumer.close();
        }
    }

    /** Before there was a client for it, a consumer told what can be known. */
    record Admin(Map<String, Object> settings, AutoCloseable client) implements AutoCloseable {
        @Override
        public void close() throws Exception {
            if (client != null) client.close();
        }
    }

    public Object hello(Loop.Command command) {
        return Map.of("version", AppInfoParser.getVersion());
    }

    public void open(Loop.Command command) {
        Map<String, Object> settings = new HashMap<>(COMMON);
        settings.put("bootstrap.servers", command.text("bootstrap"));
        settings.putAll(ROLES.get(command.text("role")));
        settings.putAll(command.texts("settings"));
        handles.put(command.text("handle"), switch (command.text("role")) {
            case "producer" -> new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
            case "consumer" -> new Reader(settings);
            default -> new Admin(settings, adminClient(settings));
        });
    }

    public void close(Loop.Command command) throws Exception {
        ((AutoCloseable) handles.remove(command.text("handle"))).close();
    }

    public Object produce(Loop.Command command) throws Exception {
        @SuppressWarnings("unchecked")
        KafkaProducer<byte[], byte[]> producer = (KafkaProducer<byte[], byte[]>) handles.get(command.text("handle"));
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (Loop.Command given : command.records()) sent.add(producer.send(record(command.text("topic"), given)));
        List<Object> answers = new ArrayList<>();
        for (Future<RecordMetadata> one : sent) {
            try {
                RecordMetadata told = one.get();
                // Below 0 with acks 0.
                answers.add(Loop.map("partition", told.partition(), "offset", told.offset() < 0 ? null : told.offset()));
            } catch (ExecutionException exception) {
                answers.add(Loop.error(exception));
            }
        }
        return Map.of("records", answers);
    }

    public void assign(Loop.Command command) throws Exception {
        Reader reader = reader(command);
        reader.kept.clear();
        Map<TopicPartition, Object> from = new HashMap<>();
        for (List<Object> row : command.rows("partitions")) from.put(partition(command.text("topic"), row.get(0)), row.get(1));
        reader.consumer.assign(new ArrayList<>(from.keySet()));
        for (TopicPartition one : from.keySet()) {
            Map<?, ?> named = from.get(one) instanceof Map<?, ?> map ? map : Map.of();
            Object offset = named.get("offset");
            Object at = named.isEmpty() ? from.get(one) : named.get("timestamp");
            reader.consumer.seek(one, offset != null ? ((Number) offset).longValue() : offset(reader.consumer, one, at));
        }
    }

    public void subscribe(Loop.Command command) {
        Reader reader = reader(command);
        ConsumerRebalanceListener counted = new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                reader.rebalances++;
            }

            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                reader.rebalances++;
            }
        };
        if (command.any("topics") != null) reader.consumer.subscribe(command.<String>list("topics"), counted);
        else reader.consumer.subscribe(Pattern.compile(command.text("pattern")), counted);
    }

    public Object poll(Loop.Command command) throws Exception {
        Reader reader = reader(command);
        long end = System.nanoTime() + command.number("timeout_ms") * 1_000_000L;
        for (long left = end; reader.kept.size() < command.number("count") && left > 0; left = end - System.nanoTime()) {
            poll(reader, Math.max(0, (end - System.nanoTime()) / 1_000_000));
        }
        List<Object> records = new ArrayList<>(reader.kept);
        reader.kept.clear();
        return Map.of("records", records, "assignment", rows(reader.consumer.assignment()), "rebalances", reader.rebalances);
    }

    public void commit(Loop.Command command) throws Exception {
        Reader reader = reader(command);
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (List<Object> row : command.rows("offsets")) {
            offsets.put(partition(row.get(0), row.get(1)), new OffsetAndMetadata(((Number) row.get(2)).longValue()));
        }
        if (!(boolean) command.any("async")) {
            reader.consumer.commitSync(offsets);
            return;
        }
        CompletableFuture<Void> done = new CompletableFuture<>();
        reader.consumer.commitAsync(offsets, (what, error) -> {
            if (error == null) done.complete(null);
            else done.completeExceptionally(error);
        });
        while (!done.isDone()) poll(reader, 50);
        done.get();
    }

    public void seek(Loop.Command command) {
        reader(command).kept.clear();
        reader(command).consumer.seek(partition(command), command.number("offset"));
    }

    public void pause(Loop.Command command) throws Exception {
        move(reader(command).consumer, "pause", partition(command));
    }

    public void resume(Loop.Command command) throws Exception {
        move(reader(command).consumer, "resume", partition(command));
    }

    public Object describe_topic(Loop.Command command) throws Exception {
        try (Reader reader = new Reader(admin(command).settings)) {
            List<PartitionInfo> found = reader.consumer.listTopics().get(command.text("topic"));
            if (found == null) throw new Loop.Refused("UNKNOWN_TOPIC_OR_PARTITION", "it is not in the list of topics");
            List<Object> partitions = new ArrayList<>();
            for (PartitionInfo one : found) {
                partitions.add(described(one.partition(), one.leader(), Stream.of(one.replicas()), Stream.of(one.inSyncReplicas())));
            }
            return Map.of("partitions", partitions);
        }
    }

    public Object list_offsets(Loop.Command command) throws Exception {
        try (Reader reader = new Reader(admin(command).settings)) {
            List<Object> offsets = new ArrayList<>();
            for (Object number : command.list("partitions")) {
                TopicPartition one = partition(command.text("topic"), number);
                reader.consumer.assign(List.of(one));
                offsets.add(List.of(number, offset(reader.consumer, one, command.any("at"))));
            }
            return Map.of("offsets", offsets);
        }
    }

    /** A member of the group that does not join it can ask for each partition that there is. */
    public Object group_offsets(Loop.Command command) throws Exception {
        Map<String, Object> settings = new HashMap<>(admin(command).settings);
        settings.put("group.id", command.text("group"));
        try (Reader reader = new Reader(settings)) {
            List<Object> offsets = new ArrayList<>();
            for (List<PartitionInfo> topic : reader.consumer.listTopics().values()) {
                for (PartitionInfo one : topic) {
                    TopicPartition asked = partition(one.topic(), one.partition());
                    Object found = Loop.call(reader.consumer, "committed", TopicPartition.class, asked);
                    if (found != null) offsets.add(List.of(one.topic(), one.partition(), ((OffsetAndMetadata) found).offset()));
                }
            }
            return Map.of("offsets", offsets);
        }
    }

    // --- what versions have differently

    AutoCloseable adminClient(Map<String, Object> settings) {
        return null;
    }

    ProducerRecord<byte[], byte[]> record(String topic, Loop.Command given) {
        return new ProducerRecord<>(topic, given.number("partition"), given.bytes("key"), given.bytes("value"));
    }

    Map<String, Object> read(ConsumerRecord<byte[], byte[]> record) {
        return Loop.map(
                "topic", record.topic(),
                "partition", record.partition(),
                "offset", record.offset(),
                "key", Loop.packed(record.key()),
                "value", Loop.packed(record.value()));
    }

    /** It waits until the group is joined, whatever it is told: then it is woken up, and goes on when it polls again. */
    @SuppressWarnings("unchecked")
    void poll(Reader reader, long milliseconds) throws Exception {
        Future<?> alarm = alarms.schedule(reader.consumer::wakeup, milliseconds + 100, TimeUnit.MILLISECONDS);
        try {
            // Until it was not woken up, or has said so.
            do {
                reader.keep((ConsumerRecords<byte[], byte[]>) Loop.call(reader.consumer, "poll", long.class, milliseconds));
            } while (!alarm.cancel(false));
        } catch (InvocationTargetException exception) {
            if (!(exception.getCause() instanceof WakeupException)) throw exception;
        }
    }

    /** pause, resume, seekToBeginning or seekToEnd. */
    void move(KafkaConsumer<?, ?> consumer, String how, TopicPartition partition) throws Exception {
        Loop.call(consumer, how, TopicPartition[].class, new TopicPartition[] {partition});
    }

    /** The offset of an end of a partition, or of the first record with a time. The partition is assigned. */
    long offset(KafkaConsumer<?, ?> consumer, TopicPartition partition, Object at) throws Exception {
        if (at instanceof Number) throw Loop.unsupported("a timestamp");
        move(consumer, List.of("beginning", "earliest").contains(at) ? "seekToBeginning" : "seekToEnd", partition);
        return consumer.position(partition);
    }

    // --- helpers

    Reader reader(Loop.Command command) {
        return (Reader) handles.get(command.text("handle"));
    }

    Admin admin(Loop.Command command) {
        return (Admin) handles.get(command.text("handle"));
    }

    static TopicPartition partition(Object topic, Object number) {
        return new TopicPartition((String) topic, (Integer) number);
    }

    static TopicPartition partition(Loop.Command command) {
        return partition(command.text("topic"), command.number("partition"));
    }

    static List<Object> rows(Iterable<TopicPartition> partitions) {
        List<Object> rows = new ArrayList<>();
        for (TopicPartition one : partitions) rows.add(List.of(one.topic(), one.partition()));
        return rows;
    }

    static Object described(int partition, Node leader, Stream<Node> replicas, Stream<Node> isr) {
        return Loop.map(
                "partition", partition,
                "leader", leader == null ? null : leader.id(),
                "replicas", replicas.map(Node::id).toList(),
                "isr", isr.map(Node::id).toList());
    }
}
