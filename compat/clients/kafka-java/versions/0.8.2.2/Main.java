import java.net.URI;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import java.util.jar.JarFile;
import kafka.api.FetchRequestBuilder;
import kafka.api.PartitionOffsetRequestInfo;
import kafka.cluster.Broker;
import kafka.common.FailedToSendMessageException;
import kafka.common.TopicAndPartition;
import kafka.javaapi.FetchResponse;
import kafka.javaapi.OffsetFetchRequest;
import kafka.javaapi.OffsetRequest;
import kafka.javaapi.OffsetResponse;
import kafka.javaapi.PartitionMetadata;
import kafka.javaapi.TopicMetadata;
import kafka.javaapi.TopicMetadataRequest;
import kafka.javaapi.consumer.SimpleConsumer;
import kafka.javaapi.producer.Producer;
import kafka.message.MessageAndOffset;
import kafka.producer.ByteArrayPartitioner;
import kafka.producer.KeyedMessage;
import kafka.producer.ProducerConfig;
import kafka.utils.VerifiableProperties;
import org.apache.kafka.common.protocol.Errors;

/**
 * The driver of the clients of 0.8 that need no ZooKeeper: the producer, and SimpleConsumer, whose users keep the positions and
 * look for the leaders themselves. See ../README.md.
 */
public class Main {
    static final Map<String, String> NAMES = Map.of("acks", "request.required.acks", "compression.type", "compression.codec");

    final Map<String, Object> handles = new ConcurrentHashMap<>();

    public static void main(String[] arguments) throws Exception {
        Loop.serve(new Main());
    }

    /** A record for a partition is partitioned by its number. */
    public static class Placed extends ByteArrayPartitioner {
        public Placed(VerifiableProperties properties) {
            super(properties);
        }

        @Override
        public int partition(Object key, int partitions) {
            return key instanceof Integer number ? number : super.partition(key, partitions);
        }
    }

    static class Reader {
        final String client;
        final List<String> addresses;
        final int size;
        final Map<TopicAndPartition, Long> positions = new HashMap<>();
        final Map<TopicAndPartition, Broker> leaders = new HashMap<>();
        final Map<Broker, SimpleConsumer> connections = new HashMap<>();

        Reader(String bootstrap, Map<String, String> settings) {
            addresses = List.of(bootstrap.split(","));
            client = settings.getOrDefault("client.id", "driver");
            size = Integer.parseInt(settings.getOrDefault("max.partition.fetch.bytes", "1048576"));
        }

        SimpleConsumer connection(String address) {
            String[] parts = address.split(":");
            return connection(parts[0], Integer.parseInt(parts[1]));
        }

        SimpleConsumer connection(String host, int port) {
            return new SimpleConsumer(host, port, 30_000, 65_536, client);
        }

        /** Of some topics, or of all that there are. */
        List<TopicMetadata> topics(List<String> names) {
            RuntimeException failed = null;
            for (String address : addresses) {
                SimpleConsumer one = connection(address);
                try {
                    return one.send(new TopicMetadataRequest(names)).topicsMetadata();
                } catch (RuntimeException exception) {
                    failed = exception; // another one may know
                } finally {
                    one.close();
                }
            }
            throw failed;
        }

        SimpleConsumer leader(TopicAndPartition partition) {
            if (!leaders.containsKey(partition)) {
                for (TopicMetadata topic : topics(List.of(partition.topic()))) {
                    for (PartitionMetadata one : topic.partitionsMetadata()) {
                        if (one.leader() != null) leaders.put(new TopicAndPartition(topic.topic(), one.partitionId()), one.leader());
                    }
                }
                if (!leaders.containsKey(partition)) throw new Loop.Refused("LEADER_NOT_AVAILABLE", partition.toString());
            }
            return connections.computeIfAbsent(leaders.get(partition), broker -> connection(broker.host(), broker.port()));
        }

        long offset(TopicAndPartition partition, Object at) {
            if (at instanceof Number) throw Loop.unsupported("a timestamp");
            boolean first = List.of("beginning", "earliest").contains(at);
            long time = first ? kafka.api.OffsetRequest.EarliestTime() : kafka.api.OffsetRequest.LatestTime();
            Map<TopicAndPartition, PartitionOffsetRequestInfo> asked = Map.of(partition, new PartitionOffsetRequestInfo(time, 1));
            OffsetResponse found = leader(partition).getOffsetsBefore(new OffsetRequest(asked, (short) 0, client));
            check(found.errorCode(partition.topic(), partition.partition()));
            return found.offsets(partition.topic(), partition.partition())[0];
        }

        List<Object> poll() throws InterruptedException {
            List<Object> records = new ArrayList<>();
            try {
                Map<SimpleConsumer, List<TopicAndPartition>> wanted = new HashMap<>();
                for (TopicAndPartition one : positions.keySet()) {
                    wanted.computeIfAbsent(leader(one), none -> new ArrayList<>()).add(one);
                }
                for (SimpleConsumer leader : wanted.keySet()) fetch(leader, wanted.get(leader), records);
            } catch (Exception exception) {
                // Any of what a connection can have: it is made again.
                System.err.println(exception);
                close();
                Thread.sleep(100);
            }
            return records;
        }

        void fetch(SimpleConsumer leader, List<TopicAndPartition> partitions, List<Object> records) {
            FetchRequestBuilder builder = new FetchRequestBuilder().clientId(client).maxWait(100).minBytes(1);
            for (TopicAndPartition one : partitions) builder.addFetch(one.topic(), one.partition(), positions.get(one), size);
            FetchResponse response = leader.fetch(builder.build());
            for (TopicAndPartition one : partitions) {
                check(response.errorCode(one.topic(), one.partition()));
                for (MessageAndOffset found : response.messageSet(one.topic(), one.partition())) {
                    // Of what is compressed, all comes.
                    if (found.offset() < positions.get(one)) continue;
                    records.add(Loop.map(
                            "topic", one.topic(),
                            "partition", one.partition(),
                            "offset", found.offset(),
                            "key", bytes(found.message().key()),
                            "value", bytes(found.message().payload())));
                    positions.put(one, found.nextOffset());
                }
            }
        }

        void close() {
            connections.values().forEach(SimpleConsumer::close);
            connections.clear();
            leaders.clear();
        }
    }

    public Object hello(Loop.Command command) throws Exception {
        URI jar = Producer.class.getProtectionDomain().getCodeSource().getLocation().toURI();
        try (JarFile file = new JarFile(jar.getPath())) {
            return Map.of("version", file.getManifest().getMainAttributes().getValue("Version"));
        }
    }

    public void open(Loop.Command command) {
        String bootstrap = command.text("bootstrap");
        Map<String, String> settings = command.texts("settings");
        handles.put(command.text("handle"),
                command.text("role").equals("producer") ? producer(bootstrap, settings) : new Reader(bootstrap, settings));
    }

    static Producer<byte[], byte[]> producer(String bootstrap, Map<String, String> settings) {
        Properties properties = new Properties();
        properties.put("metadata.broker.list", bootstrap);
        properties.put("producer.type", "sync");
        properties.put("partitioner.class", Placed.class.getName());
        properties.put("request.required.acks", "-1");
        properties.put("message.send.max.retries", "600");
        properties.put("retry.backoff.ms", "100");
        settings.forEach((name, value) -> properties.put(NAMES.getOrDefault(name, name), value.replace("all", "-1")));
        return new Producer<>(new ProducerConfig(properties));
    }

    public void close(Loop.Command command) {
        Object closed = handles.remove(command.text("handle"));
        if (closed instanceof Reader reader) reader.close();
        else ((Producer<?, ?>) closed).close();
    }

    public Object produce(Loop.Command command) {
        @SuppressWarnings("unchecked")
        Producer<byte[], byte[]> producer = (Producer<byte[], byte[]>) handles.get(command.text("handle"));
        List<KeyedMessage<byte[], byte[]>> messages = new ArrayList<>();
        for (Loop.Command given : command.records()) {
            byte[] key = given.bytes("key");
            Object place = given.any("partition") == null ? key : given.number("partition");
            messages.add(new KeyedMessage<>(command.text("topic"), key, place, given.bytes("value")));
        }
        Map<String, Object> answer = Map.of();
        try {
            producer.send(messages);
        } catch (FailedToSendMessageException exception) {
            answer = Loop.error(exception);
        }
        return Map.of("records", Collections.nCopies(messages.size(), answer));
    }

    public void assign(Loop.Command command) {
        Reader reader = reader(command);
        reader.positions.clear();
        for (List<Object> row : command.rows("partitions")) {
            TopicAndPartition one = new TopicAndPartition(command.text("topic"), (Integer) row.get(0));
            Object offset = row.get(1) instanceof Map<?, ?> named ? named.get("offset") : null;
            reader.positions.put(one, offset != null ? ((Number) offset).longValue() : reader.offset(one, row.get(1)));
        }
    }

    public Object poll(Loop.Command command) throws Exception {
        Reader reader = reader(command);
        long end = System.nanoTime() + command.number("timeout_ms") * 1_000_000L;
        List<Object> records = new ArrayList<>();
        while (records.size() < command.number("count") && System.nanoTime() < end) records.addAll(reader.poll());
        List<Object> assignment = new ArrayList<>();
        for (TopicAndPartition one : reader.positions.keySet()) assignment.add(List.of(one.topic(), one.partition()));
        return Map.of("records", records, "assignment", assignment);
    }

    public void seek(Loop.Command command) {
        reader(command).positions.put(partition(command), command.number("offset").longValue());
    }

    public Object describe_topic(Loop.Command command) {
        for (TopicMetadata topic : reader(command).topics(List.of())) {
            if (topic.topic().equals(command.text("topic"))) {
                List<Object> partitions = new ArrayList<>();
                for (PartitionMetadata one : topic.partitionsMetadata()) {
                    partitions.add(Loop.map(
                            "partition", one.partitionId(),
                            "leader", one.leader() == null ? null : one.leader().id(),
                            "replicas", one.replicas().stream().map(Broker::id).toList(),
                            "isr", one.isr().stream().map(Broker::id).toList()));
                }
                return Map.of("partitions", partitions);
            }
        }
        throw new Loop.Refused("UNKNOWN_TOPIC_OR_PARTITION", "it is not in the list of topics");
    }

    public Object list_offsets(Loop.Command command) {
        List<Object> offsets = new ArrayList<>();
        for (Object number : command.list("partitions")) {
            TopicAndPartition one = new TopicAndPartition(command.text("topic"), (Integer) number);
            offsets.add(List.of(number, reader(command).offset(one, command.any("at"))));
        }
        return Map.of("offsets", offsets);
    }

    /** Of all partitions that there are. Version 1 is what Kafka itself has kept, and not ZooKeeper. */
    public Object group_offsets(Loop.Command command) {
        Reader reader = reader(command);
        List<TopicAndPartition> asked = new ArrayList<>();
        for (TopicMetadata topic : reader.topics(List.of())) {
            for (PartitionMetadata one : topic.partitionsMetadata()) asked.add(new TopicAndPartition(topic.topic(), one.partitionId()));
        }
        OffsetFetchRequest request = new OffsetFetchRequest(command.text("group"), asked, (short) 1, 0, reader.client);
        // One of them coordinates the group.
        Loop.Refused refused = null;
        for (String address : reader.addresses) {
            SimpleConsumer coordinator = reader.connection(address);
            List<Object> offsets = new ArrayList<>();
            try {
                coordinator.fetchOffsets(request).offsets().forEach((one, found) -> {
                    check(found.error());
                    if (found.offset() >= 0) offsets.add(List.of(one.topic(), one.partition(), found.offset()));
                });
                return Map.of("offsets", offsets);
            } catch (Loop.Refused exception) {
                refused = exception;
            } finally {
                coordinator.close();
            }
        }
        throw refused;
    }

    // --- helpers

    Reader reader(Loop.Command command) {
        return (Reader) handles.get(command.text("handle"));
    }

    static TopicAndPartition partition(Loop.Command command) {
        return new TopicAndPartition(command.text("topic"), command.number("partition"));
    }

    static String bytes(ByteBuffer buffer) {
        if (buffer == null) return null;
        byte[] data = new byte[buffer.remaining()];
        buffer.get(data);
        return Loop.packed(data);
    }

    static void check(short code) {
        if (code != 0) throw new Loop.Refused(Errors.forCode(code).name(), "error " + code);
    }
}
