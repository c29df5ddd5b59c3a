package main

import (
	"time"

	"github.com/IBM/sarama"
)

var (
	kafka  = sarama.MaxVersion
	codecs = map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4,
	}
)

func producing(_ *sarama.Config, settings Settings) {
	if settings["enable.idempotence"] == "false" {
		delete(settings, "enable.idempotence")
	}
}

func consuming(config *sarama.Config, _ Settings) {
	// Of what was marked, which is only what shall be committed.
	config.Consumer.Offsets.CommitInterval = 20 * time.Millisecond
}

// commit: this version has no call for it.
func (reader *reader) commit(_ sarama.ConsumerGroupSession, offsets []TopicOffset) error {
	return reader.flushed(offsets)
}

func (*reader) Pause(string, int32) error { return unsupported("pause") }

func (*reader) Resume(string, int32) error { return unsupported("resume") }

// What ClusterAdmin has not yet is asked of a broker: there is one.

func (admin admin) broker() (*sarama.Broker, error) {
	return admin.client.Controller()
}

func (admin admin) DescribeTopic(topic string) ([]Partition, error) {
	broker, err := admin.broker()
	if err != nil {
		return nil, err
	}
	answer, err := broker.GetMetadata(&sarama.MetadataRequest{Version: 5, Topics: []string{topic}})
	if err != nil {
		return nil, err
	}
	return described(answer.Topics[0])
}

// AlterConfigs: that of ClusterAdmin keeps the error's text and not its code.
func (admin admin) AlterConfigs(topic string, configs map[string]string) error {
	broker, err := admin.broker()
	if err != nil {
		return err
	}
	change := &sarama.AlterConfigsResource{Type: sarama.TopicResource, Name: topic, ConfigEntries: pointers(configs)}
	answer, err := broker.AlterConfigs(&sarama.AlterConfigsRequest{Resources: []*sarama.AlterConfigsResource{change}})
	if err == nil && answer.Resources[0].ErrorCode != 0 {
		err = sarama.KError(answer.Resources[0].ErrorCode)
	}
	return err
}

func (admin admin) ListGroups() (found []string, err error) {
	broker, err := admin.broker()
	if err != nil {
		return nil, err
	}
	answer, err := broker.ListGroups(&sarama.ListGroupsRequest{})
	if err != nil {
		return nil, err
	}
	for group := range answer.Groups {
		found = append(found, group)
	}
	return found, nil
}

func (admin admin) DescribeGroup(group string) (string, []Member, error) {
	coordinator, err := admin.client.Coordinator(group)
	if err != nil {
		return "", nil, err
	}
	answer, err := coordinator.DescribeGroups(&sarama.DescribeGroupsRequest{Groups: []string{group}})
	if err != nil {
		return "", nil, err
	}
	return members(answer.Groups[0])
}

// GroupOffsets asks for all partitions that there are: a request of that time must name them.
func (admin admin) GroupOffsets(group string) (found []TopicOffset, err error) {
	coordinator, err := admin.client.Coordinator(group)
	if err != nil {
		return nil, err
	}
	topics, err := admin.client.Topics()
	if err != nil {
		return nil, err
	}
	request := &sarama.OffsetFetchRequest{Version: 1, ConsumerGroup: group}
	for _, topic := range topics {
		partitions, err := admin.client.Partitions(topic)
		if err != nil {
			return nil, err
		}
		for _, partition := range partitions {
			request.AddPartition(topic, partition)
		}
	}
	answer, err := coordinator.FetchOffset(request)
	if err != nil {
		return nil, err
	}
	for _, one := range committed(answer) {
		if one.Offset >= 0 {
			found = append(found, one)
		}
	}
	return found, nil
}

func (admin admin) DeleteGroup(group string) error {
	coordinator, err := admin.client.Coordinator(group)
	if err != nil {
		return err
	}
	answer, err := coordinator.DeleteGroups(&sarama.DeleteGroupsRequest{Groups: []string{group}})
	if err == nil && answer.GroupErrorCodes[group] != sarama.ErrNoError {
		err = answer.GroupErrorCodes[group]
	}
	return err
}
