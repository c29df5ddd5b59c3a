// The driver of franz-go: kgo, and kadm for admin. See ../README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func main() {
	serve(franz{}, map[string]string{"version": version("github.com/twmb/franz-go"), "kadm": "kadm " + version("github.com/twmb/franz-go/pkg/kadm")})
}

type franz struct{}

var (
	background = context.Background()
	codecs     = map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	acks = map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()}
)

// common are the options of all clients. franz-go's defaults wait up to 5 s before metadata is asked for again.
func common(bootstrap string, settings Settings) []kgo.Opt {
	options := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(bootstrap, ",")...),
		kgo.WithLogger(kgo.BasicLogger(os.Stderr, kgo.LogLevelWarn, nil)),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
		kgo.RequestRetries(1000),
		kgo.RetryTimeout(time.Minute),
		kgo.MetadataMinAge(100 * time.Millisecond),
		// Connections may break at any time, at the first answer too: nothing is configured wrongly.
		kgo.AlwaysRetryEOF(),
	}
	if id := settings.take("client.id", ""); id != "" {
		options = append(options, kgo.ClientID(id))
	}
	return options
}

func (franz) Code(err error) int {
	var known *kerr.Error
	if errors.As(err, &known) {
		return int(known.Code)
	}
	return 0
}

// producer has a client for records with a partition, and one for those that the client's own partitioner places.
type producer struct{ manual, own *kgo.Client }

func (franz) Producer(bootstrap string, settings Settings) (Producer, error) {
	options := append(common(bootstrap, settings),
		kgo.AllowAutoTopicCreation(),
		kgo.ProducerLinger(0),
		// A delivery time-out is counted from the record's timestamp, which may be an old one.
		kgo.RecordRetries(600),
		kgo.RequiredAcks(acks[settings.take("acks", "all")]),
		kgo.ProducerBatchCompression(codecs[settings.take("compression.type", "none")]),
	)
	if settings.take("enable.idempotence", "false") == "false" {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	if size := settings.number("max.request.size", 0); size > 0 {
		options = append(options, kgo.ProducerBatchMaxBytes(int32(size)))
	}
	own, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	manual, err := kgo.NewClient(append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	return &producer{manual, own}, err
}

func (producer *producer) Produce(topic string, records []Record) ([]any, error) {
	answers := make([]any, len(records))
	var told sync.WaitGroup
	for n, record := range records {
		sent := &kgo.Record{Topic: topic, Key: record.Key, Value: record.Value, Timestamp: record.Time()}
		for _, header := range record.Headers {
			sent.Headers = append(sent.Headers, kgo.RecordHeader{Key: header.Name, Value: header.Value})
		}
		client := producer.own
		if record.Partition != nil {
			client, sent.Partition = producer.manual, *record.Partition
		}
		told.Add(1)
		client.Produce(background, sent, func(sent *kgo.Record, err error) {
			if answers[n] = placed(sent.Partition, sent.Offset); err != nil {
				answers[n] = err
			}
			told.Done()
		})
	}
	told.Wait()
	return answers, nil
}

func (producer *producer) Close() error {
	producer.manual.Close()
	producer.own.Close()
	return nil
}

// consumer has its client when it is assigned or subscribed: the client is told then what to read.
type reader struct {
	options  []kgo.Opt
	client   *kgo.Client
	mutex    sync.Mutex
	assigned map[TopicPartition]bool
	// How often the client has told that partitions come or go.
	rebalances int
}

func (franz) Consumer(bootstrap string, settings Settings) (Consumer, error) {
	reader := &reader{assigned: map[TopicPartition]bool{}}
	reader.options = append(common(bootstrap, settings), kgo.FetchMaxWait(100*time.Millisecond))
	if age := settings.milliseconds("metadata.max.age.ms", 0); age > 0 {
		reader.options = append(reader.options, kgo.MetadataMaxAge(age))
	}
	if rack := settings.take("client.rack", ""); rack != "" {
		reader.options = append(reader.options, kgo.Rack(rack))
	}
	if size := settings.number("max.partition.fetch.bytes", 0); size > 0 {
		reader.options = append(reader.options, kgo.FetchMaxPartitionBytes(int32(size)))
	}
	reset := kgo.NewOffset().AtStart()
	if settings.take("auto.offset.reset", "earliest") == "latest" {
		reset = kgo.NewOffset().AtEnd()
	}
	reader.options = append(reader.options, kgo.ConsumeResetOffset(reset))
	if settings.take("isolation.level", "read_uncommitted") == "read_committed" {
		reader.options = append(reader.options, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if group := settings.take("group.id", ""); group != "" {
		reader.options = append(reader.options,
			kgo.ConsumerGroup(group),
			kgo.DisableAutoCommit(),
			// What was polled is committed, or not, before partitions go to others.
			kgo.BlockRebalanceOnPoll(),
			kgo.SessionTimeout(settings.milliseconds("session.timeout.ms", 45*time.Second)),
			kgo.HeartbeatInterval(settings.milliseconds("heartbeat.interval.ms", 3*time.Second)),
			kgo.OnPartitionsAssigned(reader.changed(true)),
			kgo.OnPartitionsRevoked(reader.changed(false)),
			kgo.OnPartitionsLost(reader.changed(false)),
		)
		if instance := settings.take("group.instance.id", ""); instance != "" {
			reader.options = append(reader.options, kgo.InstanceID(instance))
		}
	}
	return reader, nil
}

func (reader *reader) changed(assigned bool) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, _ *kgo.Client, which map[string][]int32) {
		reader.mutex.Lock()
		defer reader.mutex.Unlock()
		reader.rebalances++
		for topic, partitions := range which {
			for _, partition := range partitions {
				if assigned {
					reader.assigned[TopicPartition{topic, partition}] = true
				} else {
					delete(reader.assigned, TopicPartition{topic, partition})
				}
			}
		}
	}
}

func (reader *reader) open(more ...kgo.Opt) (err error) {
	reader.client, err = kgo.NewClient(append(reader.options, more...)...)
	return err
}

func (reader *reader) Assign(topic string, starts []Start) error {
	offsets := map[int32]kgo.Offset{}
	for _, start := range starts {
		switch {
		case start.At == earliest:
			offsets[start.Partition] = kgo.NewOffset().AtStart()
		case start.At == latest:
			// `AtEnd` is found out some time later.
			end, err := reader.end(topic, start.Partition)
			if err != nil {
				return err
			}
			offsets[start.Partition] = kgo.NewOffset().At(end)
		case start.Timed:
			offsets[start.Partition] = kgo.NewOffset().AfterMilli(start.At)
		default:
			offsets[start.Partition] = kgo.NewOffset().At(start.At)
		}
		reader.assigned[TopicPartition{topic, start.Partition}] = true
	}
	return reader.open(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}))
}

func (reader *reader) end(topic string, partition int32) (int64, error) {
	client, err := kadm.NewOptClient(reader.options...)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	return admin{client}.ListOffset(topic, partition, latest)
}

func (reader *reader) Subscribe(topics []string, pattern string) error {
	if pattern != "" {
		return reader.open(kgo.ConsumeRegex(), kgo.ConsumeTopics("^"+pattern+"$"))
	}
	return reader.open(kgo.ConsumeTopics(topics...))
}

func (reader *reader) Poll(count int, timeout time.Duration) (records []Record, err error) {
	patience, cancel := context.WithTimeout(background, timeout)
	defer cancel()
	// Until the first records of this poll; then not before the next one.
	reader.client.AllowRebalance()
	for len(records) < count && patience.Err() == nil {
		fetches := reader.client.PollRecords(patience, count-len(records))
		fetches.EachRecord(func(record *kgo.Record) {
			headers := []Header{}
			for _, header := range record.Headers {
				headers = append(headers, Header{header.Key, header.Value})
			}
			records = append(records, read(record.Topic, record.Partition, record.Offset, record.Timestamp, record.Key, record.Value, headers))
		})
		fetches.EachError(func(topic string, partition int32, err error) {
			if patience.Err() == nil {
				fmt.Fprintln(os.Stderr, "poll", topic, partition, err)
			}
		})
	}
	return records, nil
}

func (reader *reader) Assignment() (found []TopicPartition) {
	reader.mutex.Lock()
	defer reader.mutex.Unlock()
	for one := range reader.assigned {
		found = append(found, one)
	}
	return found
}

func (reader *reader) Rebalances() int {
	reader.mutex.Lock()
	defer reader.mutex.Unlock()
	return reader.rebalances
}

func (reader *reader) Commit(offsets []TopicOffset, async bool) error {
	commit := reader.client.CommitOffsetsSync
	if async {
		commit = reader.client.CommitOffsets
	}
	given := map[string]map[int32]kgo.EpochOffset{}
	for _, one := range offsets {
		if given[one.Topic] == nil {
			given[one.Topic] = map[int32]kgo.EpochOffset{}
		}
		given[one.Topic][one.Partition] = kgo.EpochOffset{Epoch: -1, Offset: one.Offset}
	}
	reported := make(chan error, 1)
	commit(background, given, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
		if err == nil {
			for _, topic := range answer.Topics {
				for _, partition := range topic.Partitions {
					err = errors.Join(err, kerr.ErrorForCode(partition.ErrorCode))
				}
			}
		}
		reported <- err
	})
	return <-reported
}

func (reader *reader) Seek(topic string, partition int32, offset int64) error {
	reader.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{topic: {partition: {Epoch: -1, Offset: offset}}})
	return nil
}

func (reader *reader) Pause(topic string, partition int32) error {
	reader.client.PauseFetchPartitions(map[string][]int32{topic: {partition}})
	return nil
}

func (reader *reader) Resume(topic string, partition int32) error {
	reader.client.ResumeFetchPartitions(map[string][]int32{topic: {partition}})
	return nil
}

func (reader *reader) Close() error {
	if reader.client != nil {
		reader.client.CloseAllowingRebalance()
	}
	return nil
}

type admin struct{ *kadm.Client }

func (franz) Admin(bootstrap string, settings Settings) (Admin, error) {
	client, err := kadm.NewOptClient(common(bootstrap, settings)...)
	return admin{client}, err
}

func (admin admin) Close() error {
	admin.Client.Close()
	return nil
}

func (admin admin) CreateTopic(topic string, partitions int32, configs map[string]string) error {
	_, err := admin.Client.CreateTopic(background, partitions, 1, pointers(configs), topic)
	return err
}

func (admin admin) DescribeTopic(topic string) (found []Partition, err error) {
	topics, err := admin.ListTopics(background, topic)
	if err == nil {
		err = topics[topic].Err
	}
	for _, one := range topics[topic].Partitions {
		found = append(found, Partition{one.Partition, one.Leader, one.Replicas, one.ISR})
	}
	return found, err
}

func (admin admin) CreatePartitions(topic string, count int32) error {
	answers, err := admin.UpdatePartitions(background, int(count), topic)
	if err != nil {
		return err
	}
	return answers.Error()
}

func (admin admin) AlterConfigs(topic string, configs map[string]string) error {
	changes := []kadm.AlterConfig{}
	for name, value := range configs {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	answers, err := admin.AlterTopicConfigs(background, changes, topic)
	if err != nil {
		return err
	}
	_, err = answers.On(topic, func(answer *kadm.AlterConfigsResponse) error { return answer.Err })
	return err
}

func (admin admin) DescribeConfigs(topic string) (map[string]string, error) {
	answers, err := admin.DescribeTopicConfigs(background, topic)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	_, err = answers.On(topic, func(answer *kadm.ResourceConfig) error {
		for _, config := range answer.Configs {
			found[config.Key] = config.MaybeValue()
		}
		return answer.Err
	})
	return found, err
}

func (admin admin) DeleteTopic(topic string) error {
	_, err := admin.Client.DeleteTopic(background, topic)
	return err
}

func (admin admin) ListOffset(topic string, partition int32, at int64) (int64, error) {
	var listed kadm.ListedOffsets
	var err error
	switch at {
	case earliest:
		listed, err = admin.ListStartOffsets(background, topic)
	case latest:
		listed, err = admin.ListEndOffsets(background, topic)
	default:
		listed, err = admin.ListOffsetsAfterMilli(background, at, topic)
	}
	if err != nil {
		return 0, err
	}
	return listed[topic][partition].Offset, listed[topic][partition].Err
}

func (admin admin) ListGroups() ([]string, error) {
	groups, err := admin.Client.ListGroups(background)
	return groups.Groups(), err
}

func (admin admin) DescribeGroup(group string) (string, []Member, error) {
	groups, err := admin.DescribeGroups(background, group)
	if err != nil {
		return "", nil, err
	}
	described := groups[group]
	members := []Member{}
	for _, one := range described.Members {
		member := Member{ClientID: one.ClientID}
		if assigned, ok := one.Assigned.AsConsumer(); ok {
			for _, topic := range assigned.Topics {
				for _, partition := range topic.Partitions {
					member.Assignment = append(member.Assignment, TopicPartition{topic.Topic, partition})
				}
			}
		}
		members = append(members, member)
	}
	return described.State, members, described.Err
}

func (admin admin) GroupOffsets(group string) (found []TopicOffset, err error) {
	offsets, err := admin.FetchOffsets(background, group)
	offsets.Each(func(one kadm.OffsetResponse) {
		found = append(found, TopicOffset{one.Topic, one.Partition, one.At})
		err = errors.Join(err, one.Err)
	})
	return found, err
}

func (admin admin) DeleteGroup(group string) error {
	_, err := admin.Client.DeleteGroup(background, group)
	return err
}
