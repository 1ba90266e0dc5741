package message

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"evcharging/domain"
)

// RegistrationProof is the proof of a registration: the hex HMAC-SHA256, with the point's
// secret, of id, location, price (its text as sent) and at (its text as sent), joined
// by LF.
func RegistrationProof(secret string, id domain.PointID, location, priceText, at string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(strings.Join([]string{string(id), location, priceText, at}, "\n")))
	return hex.EncodeToString(mac.Sum(nil))
}

// VerifyRegistration tells whether a registration's proof was made with the secret, in
// constant time. What the record lacks counts as empty.
func VerifyRegistration(secret string, r Registration) bool {
	location := ""
	if r.Location != nil {
		location = *r.Location
	}
	want := RegistrationProof(secret, r.Point, location, r.PriceText, r.At)
	return hmac.Equal([]byte(strings.ToLower(r.Proof)), []byte(want))
}
