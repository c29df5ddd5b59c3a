import java.util.Map;
import org.apache.kafka.clients.admin.NewPartitions;

/** More partitions. */
public class Since1_0 extends Since0_11 {
    public void create_partitions(Loop.Command command) throws Exception {
        NewPartitions wanted = NewPartitions.increaseTo(command.number("count"));
        client(command).createPartitions(Map.of(command.text("topic"), wanted)).all().get();
    }
}
