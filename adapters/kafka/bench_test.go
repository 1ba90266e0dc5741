package kafka

import "testing"

func BenchmarkDecodeMeterValue(b *testing.B) {
	value := encodeOne(b, aMeterValue).value
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode(telemetry, value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeMeterValue(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := encode(nil, aMeterValue); err != nil {
			b.Fatal(err)
		}
	}
}
