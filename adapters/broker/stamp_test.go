package broker

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// batchOf is a record batch of one record, with count and attributes as they are claimed.
func batchOf(record []byte, count int32, attributes int16) []byte {
	records := append(binary.AppendVarint(nil, int64(len(record))), record...)
	b := kmsg.RecordBatch{
		Length: int32(batchHeader - batchLength - 4 + len(records)), Magic: 2, Attributes: attributes,
		FirstTimestamp: 1, MaxTimestamp: 1, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		LastOffsetDelta: count - 1, NumRecords: count, Records: records,
	}
	batch := b.AppendTo(nil)
	binary.BigEndian.PutUint32(batch[batchCRC:], crc32.Checksum(batch[batchAttributes:], castagnoli))
	return batch
}

// aRecord has no attributes, a time difference of 1, an offset difference of 0, neither key nor value, no headers.
var aRecord = []byte{0, 2, 0, 1, 1, 0}

// A batch that a reader could not read would stop all readers of its partition.
func TestABatchThatNobodyCouldReadIsRefused(t *testing.T) {
	good := batchOf(aRecord, 1, 0)
	if _, err := stamp(good, 1); err != nil {
		t.Fatal(err)
	}
	damaged := append([]byte(nil), good...)
	damaged[len(damaged)-1] ^= 1
	for name, batch := range map[string][]byte{
		"nothing":                       nil,
		"a checksum that is wrong":      damaged,
		"a count that is wrong":         batchOf(aRecord, 2, 0),
		"a record that is cut off":      batchOf(aRecord[:1], 1, 0),
		"a length beyond the batch":     batchOf([]byte{0, 2, 0, 1, 1, 0, 0x7f}, 1, 0),
		"an offset that is wrong":       batchOf([]byte{0, 2, 2, 1, 1, 0}, 1, 0),
		"a compression that is no such": batchOf(aRecord, 1, 1),
		"a codec that is unknown":       batchOf(aRecord, 1, 7),
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := stamp(batch, 1); err == nil || got != nil {
				t.Errorf("it is stamped as %x, error %v", got, err)
			}
		})
	}
}

// Only a broker may say that it has stamped a batch: kfake would write its own time into
// the batch and leave the checksum wrong.
func TestAProducersClaimIsTakenAway(t *testing.T) {
	cluster := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "topic"))
	defer cluster.Close()
	s := &stamper{cluster: cluster}
	request := kmsg.NewPtrProduceRequest()
	request.Topics = []kmsg.ProduceRequestTopic{{
		Topic:      "topic", // CreateTime
		Partitions: []kmsg.ProduceRequestTopicPartition{{Records: batchOf(aRecord, 1, claimsAppendTime)}},
	}}
	if _, _, handled := s.control(request); handled {
		t.Fatal("the request is not handed on")
	}
	got := request.Topics[0].Partitions[0].Records
	if got[batchAttributes+1]&claimsAppendTime != 0 || !isBatch(got) {
		t.Errorf("the batch is %x", got)
	}
	if at := binary.BigEndian.Uint64(got[batchFirstTimestamp:]); at != 1 {
		t.Errorf("its time is %d, the producer said 1", at)
	}
}
