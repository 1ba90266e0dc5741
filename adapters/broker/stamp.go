package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	timestampType = "message.timestamp.type"
	logAppendTime = "LogAppendTime"
)

// A record batch, as the protocol lays it out: where its fields are, and how long what
// stands before its records.
const (
	batchCRC            = 17
	batchAttributes     = 21
	batchFirstTimestamp = 27
	batchMaxTimestamp   = 35
	batchLength         = 8
	batchCount          = 57
	batchHeader         = 61

	codecMask = 0x07
	// claimsAppendTime is set by a broker, never by a producer.
	claimsAppendTime = 0x08
)

// stamper gives produced batches the broker's time. kfake itself would stamp a batch
// whose attributes claim LogAppendTime, but leaves its checksum as it was, so that
// nobody could read it; so the time is written into the batch as if it were the
// producer's, with every record's own difference to it set to zero.
type stamper struct {
	cluster *kfake.Cluster
	seen    int
}

// renewAfter is after how many requests the control is registered anew. kfake's control
// remembers the last request of each connection it has ever seen.
const renewAfter = 1000

// control is called by kfake with each produce request, one at a time, before it handles it.
func (s *stamper) control(request kmsg.Request) (kmsg.Response, error, bool) {
	if s.seen++; s.seen%renewAfter == 0 {
		s.cluster.ControlKey(int16(kmsg.Produce), s.control)
		s.cluster.DropControl()
	}
	produce, ok := request.(*kmsg.ProduceRequest)
	if !ok {
		return nil, nil, false
	}
	for i := range produce.Topics {
		topic := &produce.Topics[i]
		stamps := s.stamps(topic)
		for j := range topic.Partitions {
			partition := &topic.Partitions[j]
			if stamps {
				partition.Records, _ = stamp(partition.Records, time.Now().UnixMilli())
			} else if isBatch(partition.Records) {
				partition.Records = claimNothing(partition.Records)
			}
		}
	}
	return nil, nil, false
}

func (s *stamper) stamps(topic *kmsg.ProduceRequestTopic) bool {
	var info *kfake.TopicInfo
	if topic.Topic != "" {
		info = s.cluster.TopicInfo(topic.Topic)
	} else {
		info = s.cluster.TopicIDInfo(topic.TopicID)
	}
	if info == nil {
		return false
	}
	kind := info.Configs[timestampType]
	return kind != nil && *kind == logAppendTime
}

var (
	errNotABatch  = errors.New("not a record batch")
	castagnoli    = crc32.MakeTable(crc32.Castagnoli)
	decompressor  = kgo.DefaultDecompressor()
	compressionOf = map[kgo.CompressionCodecType]kgo.CompressionCodec{
		kgo.CodecGzip:   kgo.GzipCompression(),
		kgo.CodecSnappy: kgo.SnappyCompression(),
		kgo.CodecLz4:    kgo.Lz4Compression(),
		kgo.CodecZstd:   kgo.ZstdCompression(),
	}
)

// stamp is a record batch with now, Unix milliseconds, as the time of all its records.
// The batch itself is not changed. Of what is no batch nothing is left, which kfake
// refuses as corrupt: kept, it would stop every reader of its partition.
func stamp(batch []byte, now int64) ([]byte, error) {
	if !isBatch(batch) {
		return nil, errNotABatch
	}
	codec := kgo.CompressionCodecType(binary.BigEndian.Uint16(batch[batchAttributes:]) & codecMask)
	records, err := decompressor.Decompress(batch[batchHeader:], codec)
	if err != nil {
		return nil, err
	}
	leveled, changed, count, err := level(records)
	if err != nil {
		return nil, err
	}
	if count != binary.BigEndian.Uint32(batch[batchCount:]) {
		return nil, errNotABatch
	}
	body := batch[batchHeader:]
	if changed {
		if body, err = compress(leveled, codec); err != nil {
			return nil, err
		}
	}
	stamped := append(append(make([]byte, 0, batchHeader+len(body)), batch[:batchHeader]...), body...)
	binary.BigEndian.PutUint32(stamped[batchLength:], uint32(len(stamped)-batchLength-4))
	binary.BigEndian.PutUint64(stamped[batchFirstTimestamp:], uint64(now))
	binary.BigEndian.PutUint64(stamped[batchMaxTimestamp:], uint64(now))
	return claimNothing(stamped), nil
}

func isBatch(batch []byte) bool {
	return len(batch) >= batchHeader &&
		crc32.Checksum(batch[batchAttributes:], castagnoli) == binary.BigEndian.Uint32(batch[batchCRC:])
}

// claimNothing takes the claim that a broker has stamped it from a batch, in place, and
// gives the batch its checksum.
func claimNothing(batch []byte) []byte {
	batch[batchAttributes+1] &^= claimsAppendTime
	binary.BigEndian.PutUint32(batch[batchCRC:], crc32.Checksum(batch[batchAttributes:], castagnoli))
	return batch
}

// level sets every record's difference to the batch's time to zero.
func level(records []byte) (leveled []byte, changed bool, count uint32, err error) {
	leveled = make([]byte, 0, len(records))
	var (
		record kmsg.Record
		body   []byte
	)
	for rest := records; len(rest) > 0; count++ {
		size, n := binary.Varint(rest)
		if n <= 0 || size < 1 || size > int64(len(rest)-n) {
			return nil, false, 0, errNotABatch
		}
		whole := rest[:n+int(size)]
		rest = rest[len(whole):]
		if err := record.UnsafeReadFrom(whole); err != nil || record.OffsetDelta != int32(count) {
			return nil, false, 0, errNotABatch
		}
		// Written again, a record that is sound is what it was.
		if body = record.AppendTo(body[:0]); !bytes.Equal(body, whole) {
			return nil, false, 0, errNotABatch
		}
		difference := record.TimestampDelta64
		changed = changed || difference != 0
		record.TimestampDelta, record.TimestampDelta64 = 0, 0
		record.Length -= int32(len(binary.AppendVarint(nil, difference)) - 1)
		leveled = record.AppendTo(leveled)
	}
	return leveled, changed, count, nil
}

func compress(records []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	if codec == kgo.CodecNone {
		return records, nil
	}
	compressor, err := kgo.DefaultCompressor(compressionOf[codec])
	if err != nil {
		return nil, err
	}
	var room bytes.Buffer
	out, used := compressor.Compress(&room, records)
	if used != codec {
		return nil, errNotABatch
	}
	return bytes.Clone(out), nil
}
