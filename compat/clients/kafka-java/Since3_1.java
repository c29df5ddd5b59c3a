import java.util.List;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.TopicDescription;

/** Topics described by name or by id. */
public class Since3_1 extends Since2_5 {
    @Override
    TopicDescription description(AdminClient client, String topic) throws Exception {
        return client.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }
}
