// The driver of confluent-kafka-go: librdkafka as Go has it. See ../README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

func main() {
	_, library := kafka.LibraryVersion()
	serve(confluent{}, map[string]string{
		"version": version("github.com/confluentinc/confluent-kafka-go/v2"), "library": "librdkafka " + library,
	})
}

type confluent struct{}

const patience = time.Minute

var (
	background = context.Background()
	minute     = int(patience.Milliseconds())
)

// configured has the defaults, and over them the settings by librdkafka's names. librdkafka's own defaults are for a
// network: it waits up to ten seconds before it connects again.
func configured(bootstrap string, settings Settings, defaults kafka.ConfigMap) *kafka.ConfigMap {
	config := kafka.ConfigMap{"bootstrap.servers": bootstrap, "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 200}
	for name, value := range defaults {
		config[name] = value
	}
	others := map[string]string{"max.request.size": "message.max.bytes", "metadata.max.age.ms": "topic.metadata.refresh.interval.ms"}
	for name := range settings {
		value := settings.take(name, "")
		if other, known := others[name]; known {
			name = other
		}
		config[name] = value
	}
	return &config
}

func (confluent) Code(err error) int {
	var known kafka.Error
	// librdkafka's own errors have codes below 0.
	if errors.As(err, &known) {
		return int(known.Code())
	}
	return 0
}

// failure is an error unless the code is that of none.
func failure(err kafka.Error) error {
	if err.Code() == kafka.ErrNoError {
		return nil
	}
	return err
}

type producer struct{ *kafka.Producer }

func (confluent) Producer(bootstrap string, settings Settings) (Producer, error) {
	client, err := kafka.NewProducer(configured(bootstrap, settings, kafka.ConfigMap{
		"message.timeout.ms": minute, "retry.backoff.ms": 50, "linger.ms": 0, "enable.idempotence": false,
	}))
	if err == nil {
		go func() {
			for event := range client.Events() {
				fmt.Fprintln(os.Stderr, client, event)
			}
		}()
	}
	return producer{client}, err
}

func (producer producer) Produce(topic string, records []Record) ([]any, error) {
	answers := make([]any, len(records))
	reports := make(chan kafka.Event, len(records))
	for n, record := range records {
		message := &kafka.Message{
			TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: kafka.PartitionAny},
			Key:            record.Key, Value: record.Value, Timestamp: record.Time(), Opaque: n,
		}
		if record.Partition != nil {
			message.TopicPartition.Partition = *record.Partition
		}
		for _, header := range record.Headers {
			message.Headers = append(message.Headers, kafka.Header{Key: header.Name, Value: header.Value})
		}
		if err := producer.Producer.Produce(message, reports); err != nil {
			message.TopicPartition.Error = err
			reports <- message
		}
	}
	for range records {
		report := (<-reports).(*kafka.Message)
		if err := report.TopicPartition.Error; err != nil {
			answers[report.Opaque.(int)] = err
		} else {
			answers[report.Opaque.(int)] = placed(report.TopicPartition.Partition, int64(report.TopicPartition.Offset))
		}
	}
	return answers, nil
}

func (producer producer) Close() error {
	producer.Producer.Close()
	return nil
}

// reader keeps what comes while it waits for a commit.
type reader struct {
	*kafka.Consumer
	kept []*kafka.Message
}

func (confluent) Consumer(bootstrap string, settings Settings) (Consumer, error) {
	client, err := kafka.NewConsumer(configured(bootstrap, settings, kafka.ConfigMap{
		// A consumer has a group, also where it makes no use of it.
		"group.id": "none", "auto.offset.reset": "earliest", "fetch.wait.max.ms": 100, "fetch.error.backoff.ms": 50,
		"topic.metadata.refresh.fast.interval.ms": 50,
		// What is stored is committed in the background, and nothing is but what shall be.
		"enable.auto.offset.store": false, "auto.commit.interval.ms": 20,
	}))
	return &reader{Consumer: client}, err
}

func position(topic string, partition int32, offset int64) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: &topic, Partition: partition, Offset: kafka.Offset(offset)}
}

func (reader *reader) Assign(topic string, starts []Start) error {
	reader.kept = nil
	partitions := []kafka.TopicPartition{}
	for _, start := range starts {
		one := position(topic, start.Partition, start.At)
		var err error
		switch {
		case start.At == earliest:
			one.Offset = kafka.OffsetBeginning
		case start.At == latest:
			var end int64
			_, end, err = reader.QueryWatermarkOffsets(topic, start.Partition, minute)
			one.Offset = kafka.Offset(end)
		case start.Timed:
			var found []kafka.TopicPartition
			if found, err = reader.OffsetsForTimes([]kafka.TopicPartition{one}, minute); err == nil {
				one = found[0]
			}
		}
		if err != nil {
			return err
		}
		partitions = append(partitions, one)
	}
	return reader.Consumer.Assign(partitions)
}

func (reader *reader) Subscribe(topics []string, pattern string) error {
	if pattern != "" {
		topics = []string{"^" + pattern + "$"}
	}
	return reader.SubscribeTopics(topics, nil)
}

func (reader *reader) Poll(count int, timeout time.Duration) (records []Record, err error) {
	deadline := time.Now().Add(timeout)
	for len(records) < count && time.Now().Before(deadline) {
		var message *kafka.Message
		if len(reader.kept) > 0 {
			message, reader.kept = reader.kept[0], reader.kept[1:]
		} else {
			var came bool
			event := reader.Consumer.Poll(int(time.Until(deadline).Milliseconds()))
			// Errors in place of a message are told for information: the consumer goes on.
			if message, came = event.(*kafka.Message); !came || message.TopicPartition.Error != nil {
				continue
			}
		}
		headers := []Header{}
		for _, header := range message.Headers {
			headers = append(headers, Header{header.Key, header.Value})
		}
		of := message.TopicPartition
		records = append(records, read(*of.Topic, of.Partition, int64(of.Offset), message.Timestamp, message.Key, message.Value, headers))
	}
	return records, nil
}

func (reader *reader) Assignment() []TopicPartition {
	assigned, err := reader.Consumer.Assignment()
	if err != nil {
		panic(err)
	}
	return named(assigned)
}

func named(partitions []kafka.TopicPartition) (found []TopicPartition) {
	for _, one := range partitions {
		found = append(found, TopicPartition{*one.Topic, one.Partition})
	}
	return found
}

func (reader *reader) Commit(offsets []TopicOffset, async bool) error {
	given := []kafka.TopicPartition{}
	for _, one := range offsets {
		given = append(given, position(one.Topic, one.Partition, one.Offset))
	}
	if !async {
		committed, err := reader.CommitOffsets(given)
		for _, one := range committed {
			err = errors.Join(err, one.Error)
		}
		return err
	}
	if _, err := reader.StoreOffsets(given); err != nil {
		return err
	}
	for {
		switch event := reader.Consumer.Poll(minute).(type) {
		case kafka.OffsetsCommitted:
			return event.Error
		case *kafka.Message:
			reader.kept = append(reader.kept, event)
		case nil:
			return errors.New("no report of the commit")
		}
	}
}

func (reader *reader) Seek(topic string, partition int32, offset int64) error {
	reader.kept = nil
	return reader.Consumer.Seek(position(topic, partition, offset), 0)
}

func (reader *reader) Pause(topic string, partition int32) error {
	return reader.Consumer.Pause([]kafka.TopicPartition{position(topic, partition, 0)})
}

func (reader *reader) Resume(topic string, partition int32) error {
	return reader.Consumer.Resume([]kafka.TopicPartition{position(topic, partition, 0)})
}

type admin struct{ *kafka.AdminClient }

func (confluent) Admin(bootstrap string, settings Settings) (Admin, error) {
	client, err := kafka.NewAdminClient(configured(bootstrap, settings, nil))
	return admin{client}, err
}

func (admin admin) Close() error {
	admin.AdminClient.Close()
	return nil
}

// topics is the error of an answer for one topic.
func topics(answers []kafka.TopicResult, err error) error {
	if err != nil {
		return err
	}
	return failure(answers[0].Error)
}

func (admin admin) CreateTopic(topic string, partitions int32, configs map[string]string) error {
	return topics(admin.CreateTopics(background, []kafka.TopicSpecification{
		{Topic: topic, NumPartitions: int(partitions), ReplicationFactor: 1, Config: configs},
	}))
}

func (admin admin) DescribeTopic(topic string) (found []Partition, err error) {
	answer, err := admin.DescribeTopics(background, kafka.NewTopicCollectionOfTopicNames([]string{topic}))
	if err != nil {
		return nil, err
	}
	described := answer.TopicDescriptions[0]
	for _, one := range described.Partitions {
		found = append(found, Partition{int32(one.Partition), int32(one.Leader.ID), ids(one.Replicas), ids(one.Isr)})
	}
	return found, failure(described.Error)
}

func ids(nodes []kafka.Node) (found []int32) {
	for _, node := range nodes {
		found = append(found, int32(node.ID))
	}
	return found
}

func (admin admin) CreatePartitions(topic string, count int32) error {
	return topics(admin.AdminClient.CreatePartitions(background, []kafka.PartitionsSpecification{{Topic: topic, IncreaseTo: int(count)}}))
}

func (admin admin) AlterConfigs(topic string, configs map[string]string) error {
	resource := kafka.ConfigResource{Type: kafka.ResourceTopic, Name: topic}
	for name, value := range configs {
		entry := kafka.ConfigEntry{Name: name, Value: value, IncrementalOperation: kafka.AlterConfigOpTypeSet}
		resource.Config = append(resource.Config, entry)
	}
	answers, err := admin.IncrementalAlterConfigs(background, []kafka.ConfigResource{resource})
	if err != nil {
		return err
	}
	return failure(answers[0].Error)
}

func (admin admin) DescribeConfigs(topic string) (map[string]string, error) {
	answers, err := admin.AdminClient.DescribeConfigs(background, []kafka.ConfigResource{{Type: kafka.ResourceTopic, Name: topic}})
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for name, entry := range answers[0].Config {
		found[name] = entry.Value
	}
	return found, failure(answers[0].Error)
}

func (admin admin) DeleteTopic(topic string) error {
	return topics(admin.DeleteTopics(background, []string{topic}))
}

func (admin admin) ListOffset(topic string, partition int32, when int64) (int64, error) {
	spec := kafka.NewOffsetSpecForTimestamp(when)
	switch when {
	case earliest:
		spec = kafka.EarliestOffsetSpec
	case latest:
		spec = kafka.LatestOffsetSpec
	}
	answer, err := admin.ListOffsets(background, map[kafka.TopicPartition]kafka.OffsetSpec{position(topic, partition, 0): spec})
	if err != nil {
		return 0, err
	}
	for _, found := range answer.ResultInfos {
		return int64(found.Offset), failure(found.Error)
	}
	return 0, errors.New("no answer")
}

func (admin admin) ListGroups() (found []string, err error) {
	answer, err := admin.ListConsumerGroups(background)
	for _, one := range answer.Valid {
		found = append(found, one.GroupID)
	}
	return found, errors.Join(append(answer.Errors, err)...)
}

func (admin admin) DescribeGroup(group string) (string, []Member, error) {
	answer, err := admin.DescribeConsumerGroups(background, []string{group})
	if err != nil {
		return "", nil, err
	}
	described := answer.ConsumerGroupDescriptions[0]
	members := []Member{}
	for _, one := range described.Members {
		members = append(members, Member{one.ClientID, named(one.Assignment.TopicPartitions)})
	}
	return described.State.String(), members, failure(described.Error)
}

func (admin admin) GroupOffsets(group string) (found []TopicOffset, err error) {
	answer, err := admin.ListConsumerGroupOffsets(background, []kafka.ConsumerGroupTopicPartitions{{Group: group}})
	if err != nil {
		return nil, err
	}
	for _, one := range answer.ConsumerGroupsTopicPartitions[0].Partitions {
		found = append(found, TopicOffset{*one.Topic, one.Partition, int64(one.Offset)})
		err = errors.Join(err, one.Error)
	}
	return found, err
}

func (admin admin) DeleteGroup(group string) error {
	answer, err := admin.DeleteConsumerGroups(background, []string{group})
	if err != nil {
		return err
	}
	return failure(answer.ConsumerGroupResults[0].Error)
}
