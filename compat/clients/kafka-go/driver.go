// The driver of segmentio's kafka-go: Writer, Reader, ConsumerGroup and, for admin, Client. See ../README.md.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

func main() {
	serve(segmentio{}, map[string]string{"version": version("github.com/segmentio/kafka-go")})
}

type segmentio struct{}

const wait = 100 * time.Millisecond

var (
	background = context.Background()
	errorLog   = kafka.LoggerFunc(log.New(os.Stderr, "", log.LstdFlags).Printf)
	codecs     = map[string]kafka.Compression{
		"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
	}
	acks = map[string]kafka.RequiredAcks{"0": kafka.RequireNone, "1": kafka.RequireOne, "all": kafka.RequireAll}
)

func (segmentio) Code(err error) int {
	var known kafka.Error
	if errors.As(err, &known) {
		return int(known)
	}
	return 0
}

type producer struct{ kafka.Writer }

// sent goes with a message: where it shall go, and what came of it.
type sent struct {
	partition *int32
	answer    any
}

func (segmentio) Producer(bootstrap string, settings Settings) (Producer, error) {
	own := &kafka.Hash{}
	writer := kafka.Writer{
		Addr: kafka.TCP(strings.Split(bootstrap, ",")...),
		Balancer: kafka.BalancerFunc(func(message kafka.Message, partitions ...int) int {
			if wanted := message.WriterData.(*sent).partition; wanted != nil {
				return int(*wanted)
			}
			return own.Balance(message, partitions...)
		}),
		MaxAttempts:            600,
		WriteBackoffMax:        wait,
		BatchTimeout:           time.Millisecond,
		BatchBytes:             int64(settings.number("max.request.size", 0)),
		RequiredAcks:           acks[settings.take("acks", "all")],
		Compression:            codecs[settings.take("compression.type", "none")],
		AllowAutoTopicCreation: true,
		ErrorLogger:            errorLog,
		Transport:              &kafka.Transport{ClientID: settings.take("client.id", "")},
		Completion: func(messages []kafka.Message, err error) {
			for _, message := range messages {
				if sent := message.WriterData.(*sent); err != nil {
					sent.answer = err
				} else {
					sent.answer = placed(int32(message.Partition), message.Offset)
				}
			}
		},
	}
	if settings["enable.idempotence"] == "false" {
		delete(settings, "enable.idempotence")
	}
	return &producer{writer}, nil
}

func (producer *producer) Produce(topic string, records []Record) ([]any, error) {
	messages := []kafka.Message{}
	for _, record := range records {
		message := kafka.Message{
			Topic: topic, Key: record.Key, Value: record.Value, Time: record.Time(), WriterData: &sent{partition: record.Partition},
		}
		for _, header := range record.Headers {
			message.Headers = append(message.Headers, kafka.Header{Key: header.Name, Value: header.Value})
		}
		messages = append(messages, message)
	}
	err := producer.WriteMessages(background, messages...)
	// Its README tells one to try again with a topic that is being created.
	for errors.Is(err, kafka.LeaderNotAvailable) {
		time.Sleep(wait)
		err = producer.WriteMessages(background, messages...)
	}
	answers := []any{}
	for _, message := range messages {
		answer := message.WriterData.(*sent).answer
		if answer == nil {
			answer = err
		}
		answers = append(answers, answer)
	}
	return answers, nil
}

// reader has a kafka.Reader for each partition, as many as it was assigned or as its group's generation has.
type reader struct {
	config  kafka.ReaderConfig
	members kafka.ConsumerGroupConfig
	client  *kafka.Client
	reading map[TopicPartition]*reading
	records chan kafka.Message
	// Of a member of a group.
	group      *kafka.ConsumerGroup
	mutex      sync.Mutex
	generation *kafka.Generation
}

type reading struct {
	*kafka.Reader
	stop    func()
	stopped chan struct{}
	// What was fetched and not handed over when it was stopped.
	kept []kafka.Message
}

func (segmentio) Consumer(bootstrap string, settings Settings) (Consumer, error) {
	brokers, dialer := strings.Split(bootstrap, ","), &kafka.Dialer{ClientID: settings.take("client.id", ""), Timeout: 10 * time.Second}
	start := int64(kafka.FirstOffset)
	if settings.take("auto.offset.reset", "earliest") == "latest" {
		start = kafka.LastOffset
	}
	age := settings.milliseconds("metadata.max.age.ms", 0)
	return &reader{
		config: kafka.ReaderConfig{
			Brokers: brokers, Dialer: dialer, ErrorLogger: errorLog,
			MaxBytes: settings.number("max.partition.fetch.bytes", 0),
			MaxWait:  wait, ReadBackoffMax: wait, ReadLagInterval: -1,
		},
		members: kafka.ConsumerGroupConfig{
			ID: settings.take("group.id", ""), Brokers: brokers, Dialer: dialer, ErrorLogger: errorLog, StartOffset: start,
			SessionTimeout:    settings.milliseconds("session.timeout.ms", 0),
			HeartbeatInterval: settings.milliseconds("heartbeat.interval.ms", 0),
			JoinGroupBackoff:  wait, WatchPartitionChanges: age > 0, PartitionWatchInterval: age,
		},
		client:  &kafka.Client{Addr: kafka.TCP(strings.Split(bootstrap, ",")...), Transport: &kafka.Transport{}},
		reading: map[TopicPartition]*reading{},
		records: make(chan kafka.Message),
	}, nil
}

func (reader *reader) of(topic string, partition int) *kafka.Reader {
	config := reader.config
	config.Topic, config.Partition = topic, partition
	return kafka.NewReader(config)
}

func (reader *reader) Assign(topic string, starts []Start) error {
	for _, start := range starts {
		one := &reading{Reader: reader.of(topic, int(start.Partition))}
		var err error
		if start.Timed {
			err = one.SetOffsetAt(background, time.UnixMilli(start.At))
		} else {
			var offset int64
			offset, err = start.Offset(func(partition int32, at int64) (int64, error) {
				return list(reader.client, topic, partition, at)
			})
			one.SetOffset(offset)
		}
		if err != nil {
			return err
		}
		reader.reading[TopicPartition{topic, start.Partition}] = one
		reader.begin(one)
	}
	return nil
}

func (reader *reader) begin(one *reading) {
	var going context.Context
	going, one.stop = context.WithCancel(background)
	one.stopped = make(chan struct{})
	go func() {
		defer close(one.stopped)
		reader.hand(going, one)
	}()
}

// hand gives to `Poll` what comes.
func (reader *reader) hand(going context.Context, from *reading) {
	for {
		if len(from.kept) == 0 {
			message, err := from.FetchMessage(going)
			if going.Err() != nil {
				return
			}
			if err != nil {
				errorLog("fetch: %v", err)
				continue
			}
			from.kept = []kafka.Message{message}
		}
		select {
		case reader.records <- from.kept[0]:
			from.kept = nil
		case <-going.Done():
			return
		}
	}
}

func (reader *reader) Seek(topic string, partition int32, offset int64) error {
	reader.Pause(topic, partition)
	one := reader.reading[TopicPartition{topic, partition}]
	one.kept = nil
	if err := one.SetOffset(offset); err != nil {
		return err
	}
	return reader.Resume(topic, partition)
}

// Pause stops to read, as https://github.com/segmentio/kafka-go/issues/474 tells one to do.
func (reader *reader) Pause(topic string, partition int32) error {
	one := reader.reading[TopicPartition{topic, partition}]
	one.stop()
	<-one.stopped
	return nil
}

func (reader *reader) Resume(topic string, partition int32) error {
	reader.begin(reader.reading[TopicPartition{topic, partition}])
	return nil
}

func (reader *reader) Poll(count int, timeout time.Duration) (records []Record, err error) {
	over := time.After(timeout)
	for len(records) < count {
		select {
		case message := <-reader.records:
			headers := []Header{}
			for _, header := range message.Headers {
				headers = append(headers, Header{header.Key, header.Value})
			}
			records = append(records, read(message.Topic, int32(message.Partition), message.Offset, message.Time, message.Key, message.Value, headers))
		case <-over:
			return records, nil
		}
	}
	return records, nil
}

func (reader *reader) Subscribe(topics []string, pattern string) (err error) {
	if pattern != "" {
		return unsupported("a pattern of topics")
	}
	reader.members.Topics = topics
	if reader.group, err = kafka.NewConsumerGroup(reader.members); err != nil {
		return err
	}
	go func() {
		for {
			generation, err := reader.group.Next(background)
			if errors.Is(err, kafka.ErrGroupClosed) {
				return
			}
			if err != nil {
				errorLog("next generation: %v", err)
				continue
			}
			reader.mutex.Lock()
			reader.generation = generation
			reader.mutex.Unlock()
			for topic, assigned := range generation.Assignments {
				for _, one := range assigned {
					generation.Start(func(going context.Context) {
						from := reader.of(topic, one.ID)
						defer from.Close()
						from.SetOffset(one.Offset)
						reader.hand(going, &reading{Reader: from})
					})
				}
			}
		}
	}()
	return nil
}

func (reader *reader) now() *kafka.Generation {
	reader.mutex.Lock()
	defer reader.mutex.Unlock()
	return reader.generation
}

func (reader *reader) Assignment() (found []TopicPartition) {
	for one := range reader.reading {
		found = append(found, one)
	}
	if generation := reader.now(); generation != nil {
		for topic, assigned := range generation.Assignments {
			for _, one := range assigned {
				found = append(found, TopicPartition{topic, int32(one.ID)})
			}
		}
	}
	return found
}

func (reader *reader) Commit(offsets []TopicOffset, async bool) error {
	if async {
		return unsupported("an asynchronous commit that reports")
	}
	given := map[string]map[int]int64{}
	for _, one := range offsets {
		if given[one.Topic] == nil {
			given[one.Topic] = map[int]int64{}
		}
		given[one.Topic][int(one.Partition)] = one.Offset
	}
	generation := reader.now()
	err := generation.CommitOffsets(given)
	if err == nil || (segmentio{}).Code(err) != 0 {
		return err
	}
	// A generation is over with its connection: what it could not commit is for the next one.
	for reader.now() == generation {
		time.Sleep(wait / 10)
	}
	return reader.now().CommitOffsets(given)
}

func (reader *reader) Close() (err error) {
	for _, one := range reader.reading {
		one.stop()
		err = errors.Join(err, one.Reader.Close())
	}
	if reader.group != nil {
		err = reader.group.Close()
	}
	return err
}

type admin struct{ *kafka.Client }

func (segmentio) Admin(bootstrap string, settings Settings) (Admin, error) {
	transport := &kafka.Transport{ClientID: settings.take("client.id", "")}
	return admin{&kafka.Client{Addr: kafka.TCP(strings.Split(bootstrap, ",")...), Transport: transport}}, nil
}

func (admin admin) Close() error {
	admin.Transport.(*kafka.Transport).CloseIdleConnections()
	return nil
}

func (admin admin) CreateTopic(topic string, partitions int32, configs map[string]string) error {
	config := kafka.TopicConfig{Topic: topic, NumPartitions: int(partitions), ReplicationFactor: 1}
	for name, value := range configs {
		config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	answer, err := admin.CreateTopics(background, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

func (admin admin) DescribeTopic(topic string) (found []Partition, err error) {
	answer, err := admin.Metadata(background, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return nil, err
	}
	for _, one := range answer.Topics[0].Partitions {
		found = append(found, Partition{int32(one.ID), int32(one.Leader.ID), ids(one.Replicas), ids(one.Isr)})
	}
	return found, answer.Topics[0].Error
}

func ids(brokers []kafka.Broker) (found []int32) {
	for _, one := range brokers {
		found = append(found, int32(one.ID))
	}
	return found
}

func (admin admin) CreatePartitions(topic string, count int32) error {
	answer, err := admin.Client.CreatePartitions(background, &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: count}},
	})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

func (admin admin) AlterConfigs(topic string, configs map[string]string) error {
	resource := kafka.IncrementalAlterConfigsRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic}
	for name, value := range configs {
		change := kafka.IncrementalAlterConfigsRequestConfig{Name: name, Value: value, ConfigOperation: kafka.ConfigOperationSet}
		resource.Configs = append(resource.Configs, change)
	}
	answer, err := admin.IncrementalAlterConfigs(background, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{resource},
	})
	if err != nil {
		return err
	}
	return answer.Resources[0].Error
}

func (admin admin) DescribeConfigs(topic string) (map[string]string, error) {
	answer, err := admin.Client.DescribeConfigs(background, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{ResourceType: kafka.ResourceTypeTopic, ResourceName: topic}},
	})
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, entry := range answer.Resources[0].ConfigEntries {
		found[entry.ConfigName] = entry.ConfigValue
	}
	return found, answer.Resources[0].Error
}

func (admin admin) DeleteTopic(topic string) error {
	answer, err := admin.DeleteTopics(background, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

// list gives an offset. kafka-go sorts what it was told: a timestamp's is among the offsets.
func list(client *kafka.Client, topic string, partition int32, at int64) (int64, error) {
	answer, err := client.ListOffsets(background, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {{Partition: int(partition), Timestamp: at}}},
	})
	if err != nil {
		return 0, err
	}
	found := answer.Topics[topic][0]
	switch at {
	case earliest:
		return found.FirstOffset, found.Error
	case latest:
		return found.LastOffset, found.Error
	}
	for offset := range found.Offsets {
		return offset, found.Error
	}
	return 0, errors.Join(errors.New("no offset"), found.Error)
}

func (admin admin) ListOffset(topic string, partition int32, at int64) (int64, error) {
	return list(admin.Client, topic, partition, at)
}

func (admin admin) ListGroups() (found []string, err error) {
	answer, err := admin.Client.ListGroups(background, &kafka.ListGroupsRequest{})
	if err != nil {
		return nil, err
	}
	for _, one := range answer.Groups {
		found = append(found, one.GroupID)
	}
	return found, answer.Error
}

func (admin admin) DescribeGroup(group string) (string, []Member, error) {
	answer, err := admin.DescribeGroups(background, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return "", nil, err
	}
	members := []Member{}
	for _, one := range answer.Groups[0].Members {
		member := Member{ClientID: one.ClientID}
		for _, topic := range one.MemberAssignments.Topics {
			for _, partition := range topic.Partitions {
				member.Assignment = append(member.Assignment, TopicPartition{topic.Topic, int32(partition)})
			}
		}
		members = append(members, member)
	}
	return answer.Groups[0].GroupState, members, answer.Groups[0].Error
}

func (admin admin) GroupOffsets(group string) (found []TopicOffset, err error) {
	answer, err := admin.OffsetFetch(background, &kafka.OffsetFetchRequest{GroupID: group})
	if err != nil {
		return nil, err
	}
	for topic, partitions := range answer.Topics {
		for _, one := range partitions {
			found = append(found, TopicOffset{topic, int32(one.Partition), one.CommittedOffset})
		}
	}
	return found, answer.Error
}

func (admin admin) DeleteGroup(group string) error {
	answer, err := admin.DeleteGroups(background, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return err
	}
	return answer.Errors[group]
}
