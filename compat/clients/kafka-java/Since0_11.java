import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

/** Headers, and a client for administration. */
public class Since0_11 extends Since0_10 {
    @Override
    ProducerRecord<byte[], byte[]> record(String topic, Loop.Command given) {
        ProducerRecord<byte[], byte[]> record = super.record(topic, given);
        if (given.any("headers") != null) {
            for (List<Object> header : given.rows("headers")) {
                record.headers().add(new RecordHeader((String) header.get(0), Loop.unpacked(header.get(1))));
            }
        }
        return record;
    }

    @Override
    Map<String, Object> read(ConsumerRecord<byte[], byte[]> record) {
        Map<String, Object> fields = super.read(record);
        List<Object> headers = new ArrayList<>();
        for (Header one : record.headers()) headers.add(new Object[] {one.key(), Loop.packed(one.value())});
        fields.put("headers", headers);
        return fields;
    }

    @Override
    AutoCloseable adminClient(Map<String, Object> settings) {
        return AdminClient.create(settings);
    }

    AdminClient client(Loop.Command command) {
        return (AdminClient) admin(command).client();
    }

    static ConfigResource resource(Loop.Command command) {
        return new ConfigResource(ConfigResource.Type.TOPIC, command.text("topic"));
    }

    public void create_topic(Loop.Command command) throws Exception {
        NewTopic topic = new NewTopic(command.text("topic"), command.number("partitions"), (short) 1);
        client(command).createTopics(List.of(topic.configs(command.texts("configs")))).all().get();
    }

    TopicDescription description(AdminClient client, String topic) throws Exception {
        Object result = client.describeTopics(List.of(topic));
        Map<?, ?> found = (Map<?, ?>) ((KafkaFuture<?>) result.getClass().getMethod("all").invoke(result)).get();
        return (TopicDescription) found.get(topic);
    }

    @Override
    public Object describe_topic(Loop.Command command) throws Exception {
        List<Object> partitions = new ArrayList<>();
        for (TopicPartitionInfo one : description(client(command), command.text("topic")).partitions()) {
            partitions.add(described(one.partition(), one.leader(), one.replicas().stream(), one.isr().stream()));
        }
        return Map.of("partitions", partitions);
    }

    public void alter_configs(Loop.Command command) throws Exception {
        List<ConfigEntry> entries = new ArrayList<>();
        command.texts("configs").forEach((name, value) -> entries.add(new ConfigEntry(name, value)));
        Object result = Loop.call(client(command), "alterConfigs", Map.class, Map.of(resource(command), new Config(entries)));
        ((KafkaFuture<?>) result.getClass().getMethod("all").invoke(result)).get();
    }

    public Object describe_configs(Loop.Command command) throws Exception {
        Map<String, String> configs = new HashMap<>();
        Config found = client(command).describeConfigs(List.of(resource(command))).all().get().get(resource(command));
        for (ConfigEntry one : found.entries()) configs.put(one.name(), one.value());
        return Map.of("configs", configs);
    }

    public void delete_topic(Loop.Command command) throws Exception {
        client(command).deleteTopics(List.of(command.text("topic"))).all().get();
    }
}
