import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.springframework.kafka.core.DefaultKafkaConsumerFactory;
import org.springframework.kafka.event.ListenerContainerIdleEvent;
import org.springframework.kafka.listener.AcknowledgingMessageListener;
import org.springframework.kafka.listener.ConsumerSeekAware;
import org.springframework.kafka.listener.ContainerProperties;
import org.springframework.kafka.listener.KafkaMessageListenerContainer;
import org.springframework.kafka.support.Acknowledgment;

/**
 * A consumer: a listener container, which pushes what comes. A consumer is for its own thread alone: what is asked of it is done
 * when the container says that it is idle, which it does there.
 */
class Reader implements AcknowledgingMessageListener<byte[], byte[]>, ConsumerSeekAware, AutoCloseable {
    private final Map<String, Object> settings;
    private final BlockingQueue<ConsumerRecord<byte[], byte[]>> came = new LinkedBlockingQueue<>();
    private final Map<TopicPartition, Map<Long, Acknowledgment>> acknowledgments = new ConcurrentHashMap<>();
    private final Queue<Consumer<org.apache.kafka.clients.consumer.Consumer<?, ?>>> asked = new ConcurrentLinkedQueue<>();
    private final Queue<Consumer<ConsumerSeekCallback>> seeks = new ConcurrentLinkedQueue<>();
    KafkaMessageListenerContainer<byte[], byte[]> container;

    Reader(Map<String, Object> settings) {
        this.settings = settings;
    }

    void start(ContainerProperties properties) {
        properties.setMessageListener(this);
        properties.setAckMode(ContainerProperties.AckMode.MANUAL_IMMEDIATE);
        properties.setPollTimeout(50);
        properties.setIdleEventInterval(20L);
        properties.setIdleBeforeDataMultiplier(1);
        var factory = new DefaultKafkaConsumerFactory<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        container = new KafkaMessageListenerContainer<>(factory, properties);
        container.setApplicationEventPublisher(event -> {
            if (event instanceof ListenerContainerIdleEvent idle) all(asked, idle.getConsumer());
        });
        container.start();
    }

    private static <T> void all(Queue<Consumer<T>> asked, T of) {
        for (Consumer<T> one = asked.poll(); one != null; one = asked.poll()) one.accept(of);
    }

    @Override
    public void onIdleContainer(Map<TopicPartition, Long> assigned, ConsumerSeekCallback callback) {
        all(seeks, callback);
    }

    @Override
    public void onMessage(ConsumerRecord<byte[], byte[]> record, Acknowledgment acknowledgment) {
        TopicPartition partition = new TopicPartition(record.topic(), record.partition());
        acknowledgments.computeIfAbsent(partition, one -> new ConcurrentHashMap<>()).put(record.offset(), acknowledgment);
        came.add(record);
    }

    /** Done when the action has ended. */
    Future<Void> inItsThread(Consumer<org.apache.kafka.clients.consumer.Consumer<?, ?>> action) {
        CompletableFuture<Void> done = new CompletableFuture<>();
        asked.add(consumer -> complete(done, () -> action.accept(consumer)));
        return done;
    }

    private static void complete(CompletableFuture<Void> done, Runnable action) {
        try {
            action.run();
            done.complete(null);
        } catch (RuntimeException exception) {
            done.completeExceptionally(exception);
        }
    }

    Map<String, Object> poll(int count, int milliseconds) throws InterruptedException {
        List<Object> records = new ArrayList<>();
        long end = System.nanoTime() + milliseconds * 1_000_000L;
        while (records.size() < count) {
            ConsumerRecord<byte[], byte[]> record = came.poll(end - System.nanoTime(), TimeUnit.NANOSECONDS);
            if (record == null) break;
            records.add(read(record));
        }
        List<Object> assignment = new ArrayList<>();
        var assigned = container == null ? null : container.getAssignedPartitions();
        if (assigned != null) assigned.forEach(one -> assignment.add(List.of(one.topic(), one.partition())));
        return Map.of("records", records, "assignment", assignment);
    }

    private static Map<String, Object> read(ConsumerRecord<byte[], byte[]> record) {
        List<Object> headers = new ArrayList<>();
        for (Header one : record.headers()) headers.add(new Object[] {one.key(), Loop.packed(one.value())});
        Map<String, Object> fields = Loop.map(
                "topic", record.topic(), "partition", record.partition(), "offset", record.offset(), "timestamp", record.timestamp());
        fields.putAll(Loop.map("key", Loop.packed(record.key()), "value", Loop.packed(record.value()), "headers", headers));
        return fields;
    }

    /** A record is acknowledged, which commits at once in the container's thread; asynchronously there is the consumer's own call. */
    void commit(Map<TopicPartition, Long> offsets, boolean asynchronously) throws Exception {
        if (!asynchronously) {
            inItsThread(consumer -> offsets.forEach((partition, next) -> acknowledgments.get(partition).get(next - 1).acknowledge())).get();
            return;
        }
        Map<TopicPartition, OffsetAndMetadata> given = new HashMap<>();
        offsets.forEach((partition, next) -> given.put(partition, new OffsetAndMetadata(next)));
        CompletableFuture<Void> done = new CompletableFuture<>();
        inItsThread(consumer -> consumer.commitAsync(given, (what, error) -> {
            if (error == null) done.complete(null);
            else done.completeExceptionally(error);
        })).get();
        done.get();
    }

    void seek(TopicPartition partition, long offset) throws Exception {
        CompletableFuture<Void> done = new CompletableFuture<>();
        seeks.add(callback -> complete(done, () -> {
            callback.seek(partition.topic(), partition.partition(), offset);
            came.clear();
        }));
        done.get();
    }

    /** Answered when the container has done it: what a poll that is under way brings still comes. */
    void pause(TopicPartition partition) throws InterruptedException {
        container.pausePartition(partition);
        while (!container.isPartitionPaused(partition)) Thread.sleep(5);
    }

    @Override
    public void close() {
        if (container != null) container.stop();
    }
}
