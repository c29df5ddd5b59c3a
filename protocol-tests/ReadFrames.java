// Reads lines "FetchRequest 3 HEX", has Kafka's own classes decode each body and encode it again, and prints
// "FetchRequest 3 CRC32 name=value ..." with the numbers and texts that Kafka found under its names. Messages and
// versions that this Kafka does not have are left out. A body that does not come back as it was ends the run.
import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.zip.CRC32;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.Readable;

class ReadFrames {
    public static void main(String[] arguments) throws Exception {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] words = line.split(" ", -1);
            short version = Short.parseShort(words[1]);
            byte[] body = HexFormat.of().parseHex(words[2]);
            String name = "org.apache.kafka.common.message." + words[0] + "Data";
            Class<?> type;
            try {
                type = Class.forName(name);
            } catch (ClassNotFoundException unknown) {
                continue;
            }
            short lowest = type.getField("LOWEST_SUPPORTED_VERSION").getShort(null);
            short highest = type.getField("HIGHEST_SUPPORTED_VERSION").getShort(null);
            if (version < lowest || version > highest) {
                continue;
            }
            ByteBuffer buffer = ByteBuffer.wrap(body);
            Message message = (Message) type.getConstructor(Readable.class, short.class)
                .newInstance(new ByteBufferAccessor(buffer), version);
            if (buffer.hasRemaining()) {
                throw new IllegalStateException(line + ": " + buffer.remaining() + " bytes not read");
            }
            ObjectSerializationCache cache = new ObjectSerializationCache();
            ByteBuffer again = ByteBuffer.allocate(message.size(cache, version));
            message.write(new ByteBufferAccessor(again), cache, version);
            if (!Arrays.equals(again.array(), body)) {
                throw new IllegalStateException(line + ": comes back as " + HexFormat.of().formatHex(again.array()));
            }
            JsonNode json = (JsonNode) Class.forName(name + "JsonConverter")
                .getMethod("write", type, short.class).invoke(null, message, version);
            List<String> values = new ArrayList<>();
            walk("", json, values);
            Collections.sort(values);
            CRC32 crc = new CRC32();
            crc.update(body);
            System.out.println(words[0] + " " + version + " " + crc.getValue() + " " + String.join(" ", values));
        }
    }

    private static void walk(String name, JsonNode node, List<String> values) {
        if (node.isObject()) {
            for (Map.Entry<String, JsonNode> field : (Iterable<Map.Entry<String, JsonNode>>) () -> node.fields()) {
                walk(field.getKey(), field.getValue(), values);
            }
        } else if (node.isArray()) {
            node.forEach(item -> walk(name, item, values));
        } else if (node.isNumber() || node.isTextual() && node.textValue().startsWith("text-")) {
            values.add(name + "=" + node.asText());
        }
    }
}
