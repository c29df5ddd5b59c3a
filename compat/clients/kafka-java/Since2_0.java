import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ConsumerGroupListing;
import org.apache.kafka.clients.admin.MemberDescription;

/** Groups, and a poll that waits no longer than it is told to. */
public class Since2_0 extends Since1_0 {
    @Override
    void poll(Reader reader, long milliseconds) {
        reader.keep(reader.consumer.poll(Duration.ofMillis(milliseconds)));
    }

    public Object list_groups(Loop.Command command) throws Exception {
        return Map.of("groups", client(command).listConsumerGroups().all().get().stream().map(ConsumerGroupListing::groupId).toList());
    }

    public Object describe_group(Loop.Command command) throws Exception {
        String group = command.text("group");
        ConsumerGroupDescription found = client(command).describeConsumerGroups(List.of(group)).all().get().get(group);
        List<Object> members = new ArrayList<>();
        for (MemberDescription one : found.members()) {
            members.add(Map.of("client_id", one.clientId(), "assignment", rows(one.assignment().topicPartitions())));
        }
        return Map.of("state", found.state().toString(), "members", members);
    }

    @Override
    public Object group_offsets(Loop.Command command) throws Exception {
        List<Object> offsets = new ArrayList<>();
        client(command)
                .listConsumerGroupOffsets(command.text("group"))
                .partitionsToOffsetAndMetadata()
                .get()
                .forEach((one, found) -> offsets.add(List.of(one.topic(), one.partition(), found.offset())));
        return Map.of("offsets", offsets);
    }

    public void delete_group(Loop.Command command) throws Exception {
        client(command).deleteConsumerGroups(List.of(command.text("group"))).all().get();
    }
}
