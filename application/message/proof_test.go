package message_test

import (
	"testing"

	"evcharging/application/message"
)

func TestRegistrationProof(t *testing.T) {
	// printf 'CP-001\nLa Vila\n0.3\n2026-05-09T07:29:33.000Z' | openssl dgst -sha256 -hmac s3cret
	const golden = "6fba31e79fc2f94f8433e5fd7838162bd94d3be2a96fccd1a1381d39e6185a07"
	const at = "2026-05-09T07:29:33.000Z"
	if got := message.RegistrationProof("s3cret", "CP-001", "La Vila", "0.3", at); got != golden {
		t.Fatalf("%s, not %s", got, golden)
	}
	location := "La Vila"
	proven := message.Registration{Point: "CP-001", Location: &location, PriceText: "0.3", At: at, Proof: golden}
	if !message.VerifyRegistration("s3cret", proven) {
		t.Fatal("a right proof is not taken")
	}
	elsewhere := "Elsewhere"
	for name, change := range map[string]func(*message.Registration){
		"another point":    func(r *message.Registration) { r.Point = "CP-002" },
		"another location": func(r *message.Registration) { r.Location = &elsewhere },
		"no location":      func(r *message.Registration) { r.Location = nil },
		"another price":    func(r *message.Registration) { r.PriceText = "0.30" },
		"another time":     func(r *message.Registration) { r.At = "2026-05-09T07:29:34.000Z" },
		"no proof":         func(r *message.Registration) { r.Proof = "" },
		"half a proof":     func(r *message.Registration) { r.Proof = golden[:32] },
	} {
		t.Run(name, func(t *testing.T) {
			r := proven
			change(&r)
			if message.VerifyRegistration("s3cret", r) {
				t.Fatal("taken")
			}
		})
	}
	if message.VerifyRegistration("secret", proven) {
		t.Fatal("a proof with another secret is taken")
	}
}
