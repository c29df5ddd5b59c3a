package main

import (
	"maps"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

var (
	kafka  = sarama.MaxVersion
	codecs = map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	}
)

func producing(config *sarama.Config, settings Settings) {
	if settings.take("enable.idempotence", "false") == "true" {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
}

func consuming(config *sarama.Config, settings Settings) {
	config.Consumer.Group.InstanceId = settings.take("group.instance.id", "")
	// Of what was marked, which is only what shall be committed.
	config.Consumer.Offsets.AutoCommit.Interval = 20 * time.Millisecond
}

func (reader *reader) commit(session sarama.ConsumerGroupSession, _ []TopicOffset) error {
	session.Commit()
	return nil
}

func (reader *reader) Pause(topic string, partition int32) error {
	reader.consumer.Pause(map[string][]int32{topic: {partition}})
	// It holds for fetches that begin now: those that are under way may bring records still.
	fetches := reader.client.Config().MetricRegistry.Get("consumer-fetch-rate").(interface{ Count() int64 })
	begun := fetches.Count()
	for n := 0; fetches.Count() < begun+2 && n < tries; n++ {
		time.Sleep(pause / 10)
	}
	return nil
}

func (reader *reader) Resume(topic string, partition int32) error {
	reader.consumer.Resume(map[string][]int32{topic: {partition}})
	return nil
}

func (admin admin) DescribeTopic(topic string) ([]Partition, error) {
	topics, err := admin.DescribeTopics([]string{topic})
	if err != nil {
		return nil, err
	}
	return described(topics[0])
}

func (admin admin) AlterConfigs(topic string, configs map[string]string) error {
	entries := map[string]sarama.IncrementalAlterConfigsEntry{}
	for name, value := range configs {
		entries[name] = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}
	}
	return admin.IncrementalAlterConfig(sarama.TopicResource, topic, entries, false)
}

func (admin admin) ListGroups() ([]string, error) {
	groups, err := admin.ListConsumerGroups()
	return slices.Collect(maps.Keys(groups)), err
}

func (admin admin) DescribeGroup(group string) (string, []Member, error) {
	groups, err := admin.DescribeConsumerGroups([]string{group})
	if err != nil {
		return "", nil, err
	}
	return members(groups[0])
}

func (admin admin) GroupOffsets(group string) ([]TopicOffset, error) {
	answers, err := admin.ListConsumerGroupOffsets(group, nil)
	if err != nil {
		return nil, err
	}
	return committed(answers), nil
}

func (admin admin) DeleteGroup(group string) error {
	return admin.DeleteConsumerGroup(group)
}
