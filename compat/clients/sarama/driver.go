// The driver of sarama; what its versions do differently is in `version.go` of each. See ../README.md.
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

func main() {
	sarama.Logger = log.New(os.Stderr, "", log.LstdFlags)
	serve(client{}, map[string]string{"version": version("github.com/IBM/sarama")})
}

type client struct{}

// A minute of tries, 100 ms apart.
const (
	tries = 600
	pause = 100 * time.Millisecond
)

func (client) Code(err error) int {
	var known sarama.KError
	if errors.As(err, &known) {
		return int(known)
	}
	return 0
}

func common(settings Settings) *sarama.Config {
	config := sarama.NewConfig()
	config.Version = kafka
	config.ClientID = settings.take("client.id", config.ClientID)
	config.Metadata.Retry.Backoff = pause
	return config
}

// producer has one for records with a partition, and one for those that sarama's own partitioner places.
type producer struct{ manual, own sarama.SyncProducer }

func (client) Producer(bootstrap string, settings Settings) (Producer, error) {
	config := common(settings)
	config.Metadata.Retry.Max = tries
	config.Producer.Retry.Max, config.Producer.Retry.Backoff = tries, pause
	config.Producer.Return.Successes = true
	config.Producer.RequiredAcks = map[string]sarama.RequiredAcks{
		"0": sarama.NoResponse, "1": sarama.WaitForLocal, "all": sarama.WaitForAll,
	}[settings.take("acks", "all")]
	codec := settings.take("compression.type", "none")
	var known bool
	if config.Producer.Compression, known = codecs[codec]; !known {
		return nil, unsupported(codec)
	}
	config.Producer.MaxMessageBytes = settings.number("max.request.size", config.Producer.MaxMessageBytes)
	producing(config, settings)
	own, err := sarama.NewSyncProducer(strings.Split(bootstrap, ","), config)
	if err != nil {
		return nil, err
	}
	placing := *config
	placing.Producer.Partitioner = sarama.NewManualPartitioner
	manual, err := sarama.NewSyncProducer(strings.Split(bootstrap, ","), &placing)
	return producer{manual, own}, err
}

// encoded is nil for nil, which is not what sarama.ByteEncoder makes of it.
func encoded(data []byte) sarama.Encoder {
	if data == nil {
		return nil
	}
	return sarama.ByteEncoder(data)
}

func (producer producer) Produce(topic string, records []Record) ([]any, error) {
	sender := producer.own
	sent := []*sarama.ProducerMessage{}
	for _, record := range records {
		message := &sarama.ProducerMessage{
			Topic: topic, Key: encoded(record.Key), Value: encoded(record.Value), Timestamp: record.Time(),
		}
		for _, header := range record.Headers {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(header.Name), Value: header.Value})
		}
		if record.Partition != nil {
			sender, message.Partition = producer.manual, *record.Partition
		}
		sent = append(sent, message)
	}
	refused := map[*sarama.ProducerMessage]error{}
	err := sender.SendMessages(sent)
	var failures sarama.ProducerErrors
	if errors.As(err, &failures) {
		for _, one := range failures {
			refused[one.Msg] = one.Err
		}
	} else if err != nil {
		return nil, err
	}
	answers := []any{}
	for _, message := range sent {
		if err, failed := refused[message]; failed {
			answers = append(answers, err)
		} else {
			answers = append(answers, placed(message.Partition, message.Offset))
		}
	}
	return answers, nil
}

func (producer producer) Close() error {
	return errors.Join(producer.manual.Close(), producer.own.Close())
}

// reader hands records over one by one: what nobody polls waits with the client.
type reader struct {
	client   sarama.Client
	consumer sarama.Consumer
	reading  map[TopicPartition]*reading
	records  chan *sarama.ConsumerMessage
	// Of a member of a group.
	name    string
	group   sarama.ConsumerGroup
	leave   func()
	left    chan struct{}
	mutex   sync.Mutex
	session sarama.ConsumerGroupSession
}

// reading is one partition, from where it was assigned or sought.
type reading struct {
	sarama.PartitionConsumer
	stopped chan struct{}
}

func (client) Consumer(bootstrap string, settings Settings) (Consumer, error) {
	config := common(settings)
	config.Consumer.MaxWaitTime = pause
	config.Consumer.Retry.Backoff = pause
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	if settings.take("auto.offset.reset", "earliest") == "latest" {
		config.Consumer.Offsets.Initial = sarama.OffsetNewest
	}
	config.Consumer.Fetch.Default = int32(settings.number("max.partition.fetch.bytes", int(config.Consumer.Fetch.Default)))
	config.Consumer.Group.Rebalance.Retry.Backoff = pause
	config.Consumer.Group.Rebalance.Retry.Max = tries
	config.Consumer.Group.Session.Timeout = settings.milliseconds("session.timeout.ms", config.Consumer.Group.Session.Timeout)
	config.Consumer.Group.Heartbeat.Interval = settings.milliseconds("heartbeat.interval.ms", config.Consumer.Group.Heartbeat.Interval)
	config.Metadata.RefreshFrequency = settings.milliseconds("metadata.max.age.ms", config.Metadata.RefreshFrequency)
	name := settings.take("group.id", "")
	consuming(config, settings)
	client, err := sarama.NewClient(strings.Split(bootstrap, ","), config)
	if err != nil {
		return nil, err
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	return &reader{
		client: client, consumer: consumer, name: name,
		reading: map[TopicPartition]*reading{}, records: make(chan *sarama.ConsumerMessage),
	}, err
}

func (reader *reader) Assign(topic string, starts []Start) error {
	for _, start := range starts {
		offset, err := start.Offset(func(partition int32, at int64) (int64, error) {
			return reader.client.GetOffset(topic, partition, at)
		})
		if err == nil {
			err = reader.Seek(topic, start.Partition, offset)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Seek ends the reading of the partition, if it is read, and begins another.
func (reader *reader) Seek(topic string, partition int32, offset int64) error {
	which := TopicPartition{topic, partition}
	if before := reader.reading[which]; before != nil {
		close(before.stopped)
		if err := before.Close(); err != nil {
			return err
		}
	}
	consumer, err := reader.consumer.ConsumePartition(topic, partition, offset)
	if err != nil {
		return err
	}
	now := &reading{consumer, make(chan struct{})}
	reader.reading[which] = now
	go reader.hand(now.Messages(), now.stopped)
	return nil
}

// hand gives to `Poll` what comes.
func (reader *reader) hand(messages <-chan *sarama.ConsumerMessage, stopped <-chan struct{}) {
	for message := range messages {
		select {
		case reader.records <- message:
		case <-stopped:
			return
		}
	}
}

func (reader *reader) Poll(count int, timeout time.Duration) (records []Record, err error) {
	over := time.After(timeout)
	for len(records) < count {
		select {
		case message := <-reader.records:
			headers := []Header{}
			for _, header := range message.Headers {
				headers = append(headers, Header{string(header.Key), header.Value})
			}
			records = append(records, read(message.Topic, message.Partition, message.Offset, message.Timestamp, message.Key, message.Value, headers))
		case <-over:
			return records, nil
		}
	}
	return records, nil
}

func (reader *reader) Assignment() (found []TopicPartition) {
	for one := range reader.reading {
		found = append(found, one)
	}
	if session := reader.now(); session != nil {
		for topic, partitions := range session.Claims() {
			for _, partition := range partitions {
				found = append(found, TopicPartition{topic, partition})
			}
		}
	}
	return found
}

func (reader *reader) Subscribe(topics []string, pattern string) (err error) {
	if pattern != "" {
		return unsupported("a pattern of topics")
	}
	if reader.group, err = sarama.NewConsumerGroupFromClient(reader.name, reader.client); err != nil {
		return err
	}
	var subscribed context.Context
	subscribed, reader.leave = context.WithCancel(context.Background())
	reader.left = make(chan struct{})
	go func() {
		defer close(reader.left)
		for subscribed.Err() == nil {
			if err := reader.group.Consume(subscribed, topics, reader); err != nil {
				sarama.Logger.Println("consume", err)
				time.Sleep(pause)
			}
		}
	}()
	return nil
}

// Of the group's session.

func (reader *reader) now() sarama.ConsumerGroupSession {
	reader.mutex.Lock()
	defer reader.mutex.Unlock()
	return reader.session
}

func (reader *reader) set(session sarama.ConsumerGroupSession) error {
	reader.mutex.Lock()
	defer reader.mutex.Unlock()
	reader.session = session
	return nil
}

func (reader *reader) Setup(session sarama.ConsumerGroupSession) error { return reader.set(session) }

func (reader *reader) Cleanup(sarama.ConsumerGroupSession) error { return reader.set(nil) }

func (reader *reader) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	reader.hand(claim.Messages(), session.Context().Done())
	return nil
}

func (reader *reader) Commit(offsets []TopicOffset, async bool) error {
	session := reader.now()
	if session == nil {
		return errors.New("the member has no session")
	}
	for _, one := range offsets {
		session.MarkOffset(one.Topic, one.Partition, one.Offset, "")
	}
	if !async {
		return reader.commit(session, offsets)
	}
	return reader.flushed(offsets)
}

// flushed waits until marks are committed, which sarama does on its own and reports to nobody.
func (reader *reader) flushed(offsets []TopicOffset) error {
	for range tries {
		coordinator, err := reader.client.Coordinator(reader.name)
		if err != nil {
			return err
		}
		request := &sarama.OffsetFetchRequest{ConsumerGroup: reader.name, Version: 1}
		for _, one := range offsets {
			request.AddPartition(one.Topic, one.Partition)
		}
		answer, err := coordinator.FetchOffset(request)
		if err != nil {
			return err
		}
		missing := 0
		for _, one := range offsets {
			if answer.GetBlock(one.Topic, one.Partition).Offset != one.Offset {
				missing++
			}
		}
		if missing == 0 {
			return nil
		}
		time.Sleep(pause / 10)
	}
	return errors.New("what was marked is not committed")
}

func (reader *reader) Close() error {
	for _, one := range reader.reading {
		close(one.stopped)
		one.AsyncClose()
	}
	if reader.group != nil {
		reader.leave()
		<-reader.left
		if err := reader.group.Close(); err != nil {
			return err
		}
	}
	return errors.Join(reader.consumer.Close(), reader.client.Close())
}

// admin: its own methods are in `version.go`, as far as they differ.
type admin struct {
	sarama.ClusterAdmin
	client sarama.Client
}

func (client) Admin(bootstrap string, settings Settings) (Admin, error) {
	config := common(settings)
	client, err := sarama.NewClient(strings.Split(bootstrap, ","), config)
	if err != nil {
		return nil, err
	}
	cluster, err := sarama.NewClusterAdmin(strings.Split(bootstrap, ","), config)
	return admin{cluster, client}, err
}

func (admin admin) Close() error {
	return errors.Join(admin.ClusterAdmin.Close(), admin.client.Close())
}

func (admin admin) CreateTopic(topic string, partitions int32, configs map[string]string) error {
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: pointers(configs)}
	return admin.ClusterAdmin.CreateTopic(topic, detail, false)
}

func described(topic *sarama.TopicMetadata) (found []Partition, err error) {
	if topic.Err != sarama.ErrNoError {
		return nil, topic.Err
	}
	for _, one := range topic.Partitions {
		found = append(found, Partition{one.ID, one.Leader, one.Replicas, one.Isr})
	}
	return found, nil
}

func (admin admin) CreatePartitions(topic string, count int32) error {
	return admin.ClusterAdmin.CreatePartitions(topic, count, nil, false)
}

func (admin admin) DescribeConfigs(topic string) (map[string]string, error) {
	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
	found := map[string]string{}
	for _, entry := range entries {
		found[entry.Name] = entry.Value
	}
	return found, err
}

func (admin admin) ListOffset(topic string, partition int32, at int64) (int64, error) {
	return admin.client.GetOffset(topic, partition, at)
}

func members(group *sarama.GroupDescription) (string, []Member, error) {
	if group.Err != sarama.ErrNoError {
		return "", nil, group.Err
	}
	found := []Member{}
	for _, one := range group.Members {
		member := Member{ClientID: one.ClientId}
		assigned, err := one.GetMemberAssignment()
		if err != nil {
			return "", nil, err
		}
		if assigned != nil {
			for topic, partitions := range assigned.Topics {
				for _, partition := range partitions {
					member.Assignment = append(member.Assignment, TopicPartition{topic, partition})
				}
			}
		}
		found = append(found, member)
	}
	return group.State, found, nil
}

func committed(answer *sarama.OffsetFetchResponse) (found []TopicOffset) {
	for topic, partitions := range answer.Blocks {
		for partition, block := range partitions {
			found = append(found, TopicOffset{topic, partition, block.Offset})
		}
	}
	return found
}
