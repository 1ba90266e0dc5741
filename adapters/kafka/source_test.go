package kafka

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

func TestARecordsDigest(t *testing.T) {
	at := time.UnixMilli(0x0102030405060708)
	tests := map[string]struct {
		key, value []byte
		hashed     string // what is hashed, in hex
	}{
		"key and value":      {[]byte("K"), []byte("VW"), "0102030405060708" + "0000000000000001" + "4b" + "0000000000000002" + "5657"},
		"null key":           {nil, []byte("V"), "0102030405060708" + "ffffffffffffffff" + "0000000000000001" + "56"},
		"empty key":          {[]byte{}, []byte("V"), "0102030405060708" + "0000000000000000" + "0000000000000001" + "56"},
		"null key and value": {nil, nil, "0102030405060708" + strings.Repeat("ff", 16)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text, err := hex.DecodeString(test.hashed)
			if err != nil {
				t.Fatal(err)
			}
			want := sha256.Sum256(text)
			got := (&Transport{}).sourceOf(&sarama.ConsumerMessage{Timestamp: at, Key: test.key, Value: test.value})
			if string(got.Digest[:]) != string(want[:8]) {
				t.Errorf("%x, want %x", got.Digest, want[:8])
			}
		})
	}
	if at := (&Transport{}).sourceOf(&sarama.ConsumerMessage{}).Timestamp; at != 0 {
		t.Errorf("a record without a time has %d", at)
	}
}
