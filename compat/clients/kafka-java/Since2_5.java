import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.common.TopicPartition;

/** Configurations changed one by one (2.3), and offsets without a consumer. */
public class Since2_5 extends Since2_0 {
    @Override
    public void alter_configs(Loop.Command command) throws Exception {
        List<AlterConfigOp> changes = new ArrayList<>();
        command.texts("configs").forEach((name, value) ->
                changes.add(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
        client(command).incrementalAlterConfigs(Map.of(resource(command), changes)).all().get();
    }

    @Override
    public Object list_offsets(Loop.Command command) throws Exception {
        List<Object> offsets = new ArrayList<>();
        for (Object number : command.list("partitions")) {
            TopicPartition one = partition(command.text("topic"), number);
            OffsetSpec at = command.any("at") instanceof Number time ? OffsetSpec.forTimestamp(time.longValue())
                    : command.text("at").equals("earliest") ? OffsetSpec.earliest() : OffsetSpec.latest();
            offsets.add(List.of(number, client(command).listOffsets(Map.of(one, at)).partitionResult(one).get().offset()));
        }
        return Map.of("offsets", offsets);
    }
}
