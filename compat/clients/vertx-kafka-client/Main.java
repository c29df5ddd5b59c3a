import io.vertx.core.Future;
import io.vertx.core.Vertx;
import io.vertx.kafka.admin.Config;
import io.vertx.kafka.admin.ConfigEntry;
import io.vertx.kafka.admin.ConsumerGroupDescription;
import io.vertx.kafka.admin.ConsumerGroupListing;
import io.vertx.kafka.admin.KafkaAdminClient;
import io.vertx.kafka.admin.MemberDescription;
import io.vertx.kafka.admin.NewPartitions;
import io.vertx.kafka.admin.NewTopic;
import io.vertx.kafka.admin.OffsetSpec;
import io.vertx.kafka.client.common.ConfigResource;
import io.vertx.kafka.client.common.Node;
import io.vertx.kafka.client.common.TopicPartition;
import io.vertx.kafka.client.common.TopicPartitionInfo;
import io.vertx.kafka.client.consumer.KafkaConsumer;
import io.vertx.kafka.client.consumer.KafkaConsumerRecord;
import io.vertx.kafka.client.consumer.KafkaConsumerRecords;
import io.vertx.kafka.client.consumer.OffsetAndMetadata;
import io.vertx.kafka.client.producer.KafkaHeader;
import io.vertx.kafka.client.producer.KafkaProducer;
import io.vertx.kafka.client.producer.KafkaProducerRecord;
import io.vertx.kafka.client.producer.RecordMetadata;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.regex.Pattern;
import org.apache.kafka.common.utils.AppInfoParser;

/** The driver of Vert.x's Kafka client: Kafka's own one, each call a future. See ../README.md. */
public class Main {
    static final Map<String, String> COMMON = Map.of(
            "reconnect.backoff.ms", "50",
            "reconnect.backoff.max.ms", "200",
            "retry.backoff.ms", "100",
            "retry.backoff.max.ms", "200");
    static final Map<String, Map<String, String>> ROLES = Map.of(
            "producer", Map.of(
                    "acks", "all", "enable.idempotence", "false", "linger.ms", "0", "retries", "600", "delivery.timeout.ms", "60000"),
            "consumer", Map.of("enable.auto.commit", "false", "auto.offset.reset", "earliest", "fetch.max.wait.ms", "100"),
            "admin", Map.of());

    final Vertx vertx = Vertx.vertx();
    final Map<String, Object> handles = new ConcurrentHashMap<>();

    public static void main(String[] arguments) throws Exception {
        Loop.serve(new Main());
    }

    static <T> T await(Future<T> future) throws Exception {
        return future.toCompletionStage().toCompletableFuture().get();
    }

    public Object hello(Loop.Command command) {
        String version = KafkaConsumer.class.getPackage().getImplementationVersion();
        return Map.of("version", version, "library", "kafka-clients " + AppInfoParser.getVersion());
    }

    public void open(Loop.Command command) {
        Map<String, String> settings = new HashMap<>(COMMON);
        settings.put("bootstrap.servers", command.text("bootstrap"));
        settings.putAll(ROLES.get(command.text("role")));
        settings.putAll(command.texts("settings"));
        handles.put(command.text("handle"), switch (command.text("role")) {
            case "producer" -> KafkaProducer.create(vertx, settings, byte[].class, byte[].class);
            case "consumer" -> KafkaConsumer.create(vertx, settings, byte[].class, byte[].class);
            default -> KafkaAdminClient.create(vertx, settings);
        });
    }

    public void close(Loop.Command command) throws Exception {
        Object handle = handles.remove(command.text("handle"));
        if (handle instanceof KafkaProducer<?, ?> producer) await(producer.close());
        else if (handle instanceof KafkaConsumer<?, ?> consumer) await(consumer.close());
        else await(((KafkaAdminClient) handle).close());
    }

    public Object produce(Loop.Command command) throws Exception {
        @SuppressWarnings("unchecked")
        KafkaProducer<byte[], byte[]> producer = (KafkaProducer<byte[], byte[]>) handles.get(command.text("handle"));
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (Loop.Command given : command.records()) sent.add(producer.send(record(command.text("topic"), given)));
        List<Object> answers = new ArrayList<>();
        for (Future<RecordMetadata> one : sent) {
            try {
                RecordMetadata told = await(one);
                // Below 0 with acks 0.
                answers.add(Loop.map("partition", told.getPartition(), "offset", told.getOffset() < 0 ? null : told.getOffset()));
            } catch (ExecutionException exception) {
                answers.add(Loop.error(exception));
            }
        }
        return Map.of("records", answers);
    }

    static KafkaProducerRecord<byte[], byte[]> record(String topic, Loop.Command given) {
        Number timestamp = (Number) given.any("timestamp");
        KafkaProducerRecord<byte[], byte[]> record = KafkaProducerRecord.create(
                topic, given.bytes("key"), given.bytes("value"), timestamp == null ? null : timestamp.longValue(), given.number("partition"));
        if (given.any("headers") != null) {
            for (List<Object> header : given.rows("headers")) {
                record.addHeader(KafkaHeader.header((String) header.get(0), Loop.unpacked(header.get(1))));
            }
        }
        return record;
    }

    public void assign(Loop.Command command) throws Exception {
        KafkaConsumer<byte[], byte[]> consumer = consumer(command);
        Map<TopicPartition, Object> from = new HashMap<>();
        for (List<Object> row : command.rows("partitions")) from.put(partition(command.text("topic"), row.get(0)), row.get(1));
        await(consumer.assign(from.keySet()));
        for (TopicPartition one : from.keySet()) {
            Map<?, ?> named = from.get(one) instanceof Map<?, ?> map ? map : Map.of();
            Object offset = named.get("offset");
            if (offset == null) offset = offset(consumer, one, named.isEmpty() ? from.get(one) : named.get("timestamp"));
            await(consumer.seek(one, ((Number) offset).longValue()));
        }
    }

    static long offset(KafkaConsumer<?, ?> consumer, TopicPartition partition, Object at) throws Exception {
        if (at instanceof Number time) return await(consumer.offsetsForTimes(partition, time.longValue())).getOffset();
        return await(at.equals("beginning") ? consumer.beginningOffsets(partition) : consumer.endOffsets(partition));
    }

    public void subscribe(Loop.Command command) throws Exception {
        boolean named = command.any("topics") != null;
        await(named
                ? consumer(command).subscribe(java.util.Set.copyOf(command.<String>list("topics")))
                : consumer(command).subscribe(Pattern.compile(command.text("pattern"))));
    }

    public Object poll(Loop.Command command) throws Exception {
        KafkaConsumer<byte[], byte[]> consumer = consumer(command);
        List<Object> records = new ArrayList<>();
        long end = System.nanoTime() + command.number("timeout_ms") * 1_000_000L;
        for (long left = end; records.size() < command.number("count") && left > 0; left = end - System.nanoTime()) {
            KafkaConsumerRecords<byte[], byte[]> came = await(consumer.poll(Duration.ofNanos(Math.max(0, end - System.nanoTime()))));
            for (int i = 0; i < came.size(); i++) records.add(read(came.recordAt(i)));
        }
        return Map.of("records", records, "assignment", rows(await(consumer.assignment())));
    }

    static Map<String, Object> read(KafkaConsumerRecord<byte[], byte[]> record) {
        List<Object> headers = new ArrayList<>();
        for (KafkaHeader one : record.headers()) headers.add(new Object[] {one.key(), Loop.packed(one.value().getBytes())});
        Map<String, Object> fields = Loop.map(
                "topic", record.topic(), "partition", record.partition(), "offset", record.offset(), "timestamp", record.timestamp());
        fields.putAll(Loop.map("key", Loop.packed(record.key()), "value", Loop.packed(record.value()), "headers", headers));
        return fields;
    }

    /** Its only call for it is asynchronous. */
    public void commit(Loop.Command command) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (List<Object> row : command.rows("offsets")) {
            offsets.put(partition(row.get(0), row.get(1)), new OffsetAndMetadata(((Number) row.get(2)).longValue(), ""));
        }
        await(consumer(command).commit(offsets));
    }

    public void seek(Loop.Command command) throws Exception {
        await(consumer(command).seek(partition(command), command.number("offset")));
    }

    public void pause(Loop.Command command) throws Exception {
        await(consumer(command).pause(partition(command)));
    }

    public void resume(Loop.Command command) throws Exception {
        await(consumer(command).resume(partition(command)));
    }

    public void create_topic(Loop.Command command) throws Exception {
        NewTopic topic = new NewTopic(command.text("topic"), command.number("partitions"), (short) 1);
        await(admin(command).createTopics(List.of(topic.setConfig(command.texts("configs")))));
    }

    public Object describe_topic(Loop.Command command) throws Exception {
        String topic = command.text("topic");
        List<Object> partitions = new ArrayList<>();
        for (TopicPartitionInfo one : await(admin(command).describeTopics(List.of(topic))).get(topic).getPartitions()) {
            partitions.add(Map.of(
                    "partition", one.getPartition(), "leader", one.getLeader().getId(),
                    "replicas", one.getReplicas().stream().map(Node::getId).toList(),
                    "isr", one.getIsr().stream().map(Node::getId).toList()));
        }
        return Map.of("partitions", partitions);
    }

    public void create_partitions(Loop.Command command) throws Exception {
        await(admin(command).createPartitions(Map.of(command.text("topic"), new NewPartitions(command.number("count"), null))));
    }

    public void alter_configs(Loop.Command command) throws Exception {
        List<ConfigEntry> entries = new ArrayList<>();
        command.texts("configs").forEach((name, value) -> entries.add(new ConfigEntry(name, value)));
        await(admin(command).alterConfigs(Map.of(resource(command), new Config(entries))));
    }

    public Object describe_configs(Loop.Command command) throws Exception {
        Map<String, String> configs = new HashMap<>();
        Config found = await(admin(command).describeConfigs(List.of(resource(command)))).get(resource(command));
        for (ConfigEntry one : found.getEntries()) configs.put(one.getName(), one.getValue());
        return Map.of("configs", configs);
    }

    public void delete_topic(Loop.Command command) throws Exception {
        await(admin(command).deleteTopics(List.of(command.text("topic"))));
    }

    public Object list_offsets(Loop.Command command) throws Exception {
        OffsetSpec at = command.any("at") instanceof Number time ? OffsetSpec.TIMESTAMP(time.longValue())
                : command.text("at").equals("earliest") ? OffsetSpec.EARLIEST : OffsetSpec.LATEST;
        List<Object> offsets = new ArrayList<>();
        for (Object number : command.list("partitions")) {
            TopicPartition one = partition(command.text("topic"), number);
            offsets.add(List.of(number, await(admin(command).listOffsets(Map.of(one, at))).get(one).getOffset()));
        }
        return Map.of("offsets", offsets);
    }

    public Object list_groups(Loop.Command command) throws Exception {
        List<ConsumerGroupListing> groups = await(admin(command).listConsumerGroups());
        return Map.of("groups", groups.stream().map(ConsumerGroupListing::getGroupId).toList());
    }

    public Object describe_group(Loop.Command command) throws Exception {
        String group = command.text("group");
        ConsumerGroupDescription found = await(admin(command).describeConsumerGroups(List.of(group))).get(group);
        List<Object> members = new ArrayList<>();
        for (MemberDescription one : found.getMembers()) {
            members.add(Map.of("client_id", one.getClientId(), "assignment", rows(one.getAssignment().getTopicPartitions())));
        }
        return Map.of("state", found.getState().toString(), "members", members);
    }

    public Object group_offsets(Loop.Command command) throws Exception {
        List<Object> offsets = new ArrayList<>();
        await(admin(command).listConsumerGroupOffsets(command.text("group")))
                .forEach((one, found) -> offsets.add(List.of(one.getTopic(), one.getPartition(), found.getOffset())));
        return Map.of("offsets", offsets);
    }

    public void delete_group(Loop.Command command) throws Exception {
        await(admin(command).deleteConsumerGroups(List.of(command.text("group"))));
    }

    @SuppressWarnings("unchecked")
    KafkaConsumer<byte[], byte[]> consumer(Loop.Command command) {
        return (KafkaConsumer<byte[], byte[]>) handles.get(command.text("handle"));
    }

    KafkaAdminClient admin(Loop.Command command) {
        return (KafkaAdminClient) handles.get(command.text("handle"));
    }

    static TopicPartition partition(Loop.Command command) {
        return partition(command.text("topic"), command.any("partition"));
    }

    static TopicPartition partition(Object topic, Object number) {
        return new TopicPartition((String) topic, (Integer) number);
    }

    static ConfigResource resource(Loop.Command command) {
        return new ConfigResource(org.apache.kafka.common.config.ConfigResource.Type.TOPIC, command.text("topic"));
    }

    static List<Object> rows(Collection<TopicPartition> partitions) {
        List<Object> rows = new ArrayList<>();
        for (TopicPartition one : partitions) rows.add(List.of(one.getTopic(), one.getPartition()));
        return rows;
    }
}
