import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Timestamps. */
public class Since0_10 extends Since0_9 {
    static Long timestamp(Loop.Command given) {
        return given.any("timestamp") instanceof Number number ? number.longValue() : null;
    }

    @Override
    ProducerRecord<byte[], byte[]> record(String topic, Loop.Command given) {
        return new ProducerRecord<>(topic, given.number("partition"), timestamp(given), given.bytes("key"), given.bytes("value"));
    }

    @Override
    Map<String, Object> read(ConsumerRecord<byte[], byte[]> record) {
        Map<String, Object> fields = super.read(record);
        fields.put("timestamp", record.timestamp());
        return fields;
    }

    @Override
    void move(KafkaConsumer<?, ?> consumer, String how, TopicPartition partition) throws Exception {
        Loop.call(consumer, how, Collection.class, List.of(partition));
    }

    @Override
    long offset(KafkaConsumer<?, ?> consumer, TopicPartition partition, Object at) throws Exception {
        if (!(at instanceof Number number)) return super.offset(consumer, partition, at);
        OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, number.longValue())).get(partition);
        return found == null ? super.offset(consumer, partition, "end") : found.offset();
    }
}
